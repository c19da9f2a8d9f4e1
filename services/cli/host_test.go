package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

func TestControlPlaneAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"a":                     "a:9701",
		"a:1":                   "a:1",
		"10.0.0.1,b:9":          "10.0.0.1:9701,b:9",
		"fd00::1":               "[fd00::1]:9701",
		"[fd00::1]":             "[fd00::1]:9701",
		"[fd00::1]:7":           "[fd00::1]:7",
		"":                      "",
		"a,":                    "",
		"a:0":                   "",
		"a:http":                "",
		"a:b:c":                 "",
		"https://a.example:443": "",
	} {
		got, err := gatewaysAt(text)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("gatewaysAt(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
}

// A joined host's commands go where its control plane is, unless they are told otherwise.
func TestJoinedHostKnowsItsControlPlane(t *testing.T) {
	dir := t.TempDir()
	h := &hostRecord{Host: "b", Gateway: []string{"10.0.0.1:9701", "10.0.0.2:9701"}, Namespaces: []string{"shop"}, Joined: time.Now()}
	if err := h.write(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, hostTokenFile), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, hostFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of %s is %v (%v), want 0600", hostFile, info.Mode(), err)
	}
	t.Setenv("WEFT_TOKEN", "")
	for _, tc := range []struct {
		env  string
		args []string
		want string
	}{
		{"", []string{"status"}, "10.0.0.1:9701,10.0.0.2:9701"},
		{"", []string{"status", "--gateway", "c:1"}, "c:1"},
		{"d:1", []string{"status"}, "d:1"},
	} {
		t.Setenv("WEFT_GATEWAY", tc.env)
		o := &options{}
		root := &cobra.Command{Use: "weft"}
		root.AddCommand(statusCommand(o))
		o.addFlags(root)
		status, rest, err := root.Find(tc.args)
		if err != nil {
			t.Fatal(err)
		}
		if err := status.ParseFlags(append(rest, "--data-dir", dir)); err != nil {
			t.Fatal(err)
		}
		if err := o.useHost(status); err != nil || o.gateway != tc.want {
			t.Errorf("%q with WEFT_GATEWAY=%q goes to %q (%v), want %q", tc.args, tc.env, o.gateway, err, tc.want)
		}
		if token, err := o.token(); err != nil || token != "secret" {
			t.Errorf("credential is %q (%v), want that of the host", token, err)
		}
	}
}

func TestJoinRefusesReadably(t *testing.T) {
	token := jointoken.Token{
		TrustDomain: "weft.local", Roots: []jointoken.Fingerprint{{1}}, ID: "0123456789abcdef", Secret: "s", Expires: time.Now().Add(time.Hour),
		Addresses: jointoken.Addresses{Identity: []string{"127.0.0.1:1"}},
	}
	host, err := jointoken.EncodeHost(token)
	if err != nil {
		t.Fatal(err)
	}
	workload, err := jointoken.Encode(token)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "admin.token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"join", "x", "--data-dir", t.TempDir()}, exitInvalid, "host-weft1."},
		{[]string{"join", workload, "--data-dir", t.TempDir()}, exitInvalid, "weft token host"},
		{[]string{"join", host, "--data-dir", own}, exitUsage, "of a control plane"},
		{[]string{"join", host, "--data-dir", t.TempDir(), "--control-plane", "a:b:c"}, exitUsage, "HOST:PORT"},
		{[]string{"join", host, "--data-dir", t.TempDir(), "--timeout", "2s"}, exitUnavailable, "127.0.0.1:1"},
		{[]string{"leave", "--data-dir", t.TempDir()}, exitOK, "has joined nothing"},
		{[]string{"run", "--account", "a", "--advertise", "here", "--", "true"}, exitUsage, "not an IP address"},
		{[]string{"run", "--account", "a", "--control-plane", "a:b:c", "--", "true"}, exitUsage, "HOST:PORT"},
	} {
		if out, code := weft(t, tc.args...); code != tc.code || !strings.Contains(out, tc.says) {
			t.Errorf("weft %s %s: exit code %d and %q, want %d and something with %q", tc.args[0], tc.says, code, out, tc.code, tc.says)
		}
	}
}

// A program on the control plane's machine is reached on loopback; nothing is sent to find that out.
func TestAdvertisedIsTheWayToTheControlPlane(t *testing.T) {
	for gateway, want := range map[string]string{"127.0.0.1:9701": "127.0.0.1", "no.such.host.invalid:1,127.0.0.1:9701": "127.0.0.1"} {
		o := &options{gateway: gateway, streams: Streams{Err: &bytes.Buffer{}}}
		if got, err := o.advertised(t.Context(), t.TempDir(), ""); err != nil || got != want {
			t.Errorf("towards %s this machine is %q (%v), want %q", gateway, got, err, want)
		}
	}
	// What the control plane advertises counts, not how this command reaches it: from the token, or from an earlier run.
	dir := t.TempDir()
	stored := `{"addresses":{"identity":["[::1]:9712"],"discovery":[],"distributor":[],"telemetry":[]}}`
	if err := os.WriteFile(filepath.Join(dir, "sidecar.json"), []byte(stored), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Encode(jointoken.Token{
		TrustDomain: "weft.local", Roots: []jointoken.Fingerprint{{1}}, ID: "a", Secret: "b", Expires: time.Now(),
		Addresses: jointoken.Addresses{Identity: []string{"127.0.0.9:9712"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		token string
		want  []string
	}{{token, []string{"127.0.0.9:9712"}}, {"", []string{"[::1]:9712"}}} {
		o := &options{gateway: "127.0.0.1:9701"}
		if got := o.towards(dir, tc.token); !slices.Equal(got, tc.want) {
			t.Errorf("the control plane is at %q, want %q", got, tc.want)
		}
	}
}
