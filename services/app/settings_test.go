package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func load(t *testing.T, args ...string) (*Settings, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(fs, "no-such-process")
}

func TestLoadPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weft.yaml")
	write(t, file, "trust-domain: from.file\ndata-dir: /file\nrun-dir: /file\nheartbeat: 1s\ndiscovery-address: [a:1, b:2]\ngateway-port: 0\n")
	t.Setenv("WEFT_DATA_DIR", "/env")
	t.Setenv("WEFT_RUN_DIR", "/env")
	t.Setenv("WEFT_ETCD_ENDPOINTS", "e:1,f:2")
	t.Setenv("WEFT_UPSTREAM_RATINGS", "127.0.0.1:9")

	got, err := load(t, "--config", file, "--run-dir", "/flag", "--lease-ttl=7s", "--static-file", "x", "--static-file", "y")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.TrustDomain = "from.file"
	want.DataDir = "/env"
	want.RunDir = "/flag"
	want.Lease = LeaseSettings{TTL: 7 * time.Second, Heartbeat: time.Second}
	want.Addresses.Discovery = []string{"a:1", "b:2"}
	want.Listen.Gateway = 0
	want.Store.Endpoints = []string{"e:1", "f:2"}
	want.StaticFiles = []string{"x", "y"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("Validate: %v", err)
	}
}

func TestLoadRefusesUnknownKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weft.yaml")
	write(t, file, "trust_domain: x\n")
	_, err := load(t, "--config", file)
	if err == nil || !strings.Contains(err.Error(), `unknown key "trust_domain"`) {
		t.Errorf("Load = %v, want an error that names the unknown key", err)
	}
}

func TestLoadNamesMissingFile(t *testing.T) {
	_, err := load(t, "--config", "/no/such/file.yaml")
	if err == nil || !strings.Contains(err.Error(), "/no/such/file.yaml") {
		t.Errorf("Load = %v, want an error that names the file", err)
	}
}

func TestEveryFlagIsASetting(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	Flags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name == flagConfig || f.Name == flagCheck {
			return
		}
		value := map[string]string{"int": "1", "float64": "1.5", "duration": "1h1m", "stringSlice": "v", "string": "v"}[f.Value.Type()]
		got, err := load(t, "--"+f.Name+"="+value)
		if err != nil {
			t.Fatalf("--%s: %v", f.Name, err)
		}
		if cmp.Equal(got, Default()) {
			t.Errorf("--%s=%s changes no setting", f.Name, value)
		}
	})
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateReportsAllProblems(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Settings)
		want   []string
	}{
		{"trust domain", func(s *Settings) { s.TrustDomain = "Not A Domain" }, []string{"trust-domain"}},
		{"gateway", func(s *Settings) { s.Gateway = GatewaySettings{OIDCAudience: "weft"} }, []string{
			"audit-max-age", "audit-max-events", "gateway-burst", "gateway-max-body", "gateway-max-concurrent", "gateway-rate", "idempotency-window", "oidc-issuer",
		}},
		{"two at once", func(s *Settings) { s.DataDir = "rel"; s.Log.Level = "loud" }, []string{"data-dir", "log-level"}},
		{"etcd without endpoints", func(s *Settings) { s.Store.Kind = StoreEtcd }, []string{"etcd-endpoints"}},
		{"embed with endpoints", func(s *Settings) { s.Store.Kind = StoreEmbed; s.Store.Endpoints = []string{"a:1"} }, []string{"store"}},
		{"same port twice", func(s *Settings) { s.Listen.Policy = s.Listen.Discovery }, []string{"policy-port"}},
		{"port on a health port", func(s *Settings) { s.Listen.GatewayREST = 9811 }, []string{"gateway-rest-port"}},
		{"any ports", func(s *Settings) { s.Listen.Policy = 0; s.Listen.Discovery = 0 }, nil},
		{"no port in address", func(s *Settings) { s.Addresses.Policy = []string{"host"} }, []string{"policy-address"}},
		{"short lease", func(s *Settings) { s.Lease.TTL = s.Lease.Heartbeat }, []string{"lease-ttl"}},
		{"half a key pair", func(s *Settings) { s.Store.KeyFile = "k" }, []string{"etcd-cert-file"}},
		{"instant SVIDs", func(s *Settings) { s.Identity.SVIDTTL = 0 }, []string{"svid-ttl"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := Default()
			tc.change(s)
			err := s.Validate()
			if (err == nil) != (len(tc.want) == 0) {
				t.Fatalf("Validate = %v, want problems of %q", err, tc.want)
			}
			for _, field := range tc.want {
				if !strings.Contains(err.Error(), field) {
					t.Errorf("Validate = %v, want it to name %q", err, field)
				}
			}
		})
	}
}

func TestAddressesOf(t *testing.T) {
	s := Default()
	s.Addresses.Policy = []string{"p:1"}
	for service, want := range map[string]string{Policy: "p:1", Distributor: "127.0.0.1:9715"} {
		if diff := cmp.Diff([]string{want}, s.AddressesOf(service)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", service, diff)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
