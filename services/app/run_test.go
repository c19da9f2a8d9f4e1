package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

func system(service string) spiffe.Account {
	return spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}
}

func TestServicesOfOneProcessMeetOverMTLS(t *testing.T) {
	var callers []rpc.Caller
	policy := &fake{rule: rpc.Services(app.Distributor), call: func(ctx context.Context) error {
		callers = append(callers, rpc.CallerFrom(ctx))
		return nil
	}}
	distributor, telemetry := &fake{}, &fake{}
	start(t, settings(t),
		issuing(policy.build(app.Policy), selfidtest.New(t)), telemetry.build(app.Telemetry), distributor.build(app.Distributor))

	if _, err := get(t.Context(), dial(t, distributor.env, app.Policy)); err != nil {
		t.Errorf("call of a caller that is allowed = %v", err)
	}
	_, err := get(t.Context(), dial(t, telemetry.env, app.Policy))
	if !fault.Is(rpc.FaultOf(err), fault.Denied) || !strings.Contains(fmt.Sprint(err), "weft-system/telemetry") {
		t.Errorf("call of a caller that is not allowed = %v, want it denied by name", err)
	}
	if diff := cmp.Diff([]rpc.Caller{{Account: system(app.Distributor)}}, callers); diff != "" {
		t.Errorf("callers whom the handler saw (-want +got):\n%s", diff)
	}
}

func TestServicesOfTwoProcessesMeet(t *testing.T) {
	ca := selfidtest.New(t)
	policy := &fake{rule: rpc.Services(app.Distributor)}
	first := start(t, settings(t), issuing(policy.build(app.Policy), ca))

	s := settings(t)
	s.Addresses.Policy = []string{first.ports[app.Policy].GRPC}
	distributor := &fake{}
	start(t, s, issuing(distributor.build(app.Distributor), ca))
	if got, err := get(t.Context(), dial(t, distributor.env, app.Policy)); err != nil || got != policy.env.Replica {
		t.Errorf("call = %q, %v; want an answer of %q", got, err, policy.env.Replica)
	}
}

func TestPortsFileAndPages(t *testing.T) {
	s := settings(t)
	var ready atomic.Bool
	ready.Store(true)
	policy := &fake{ready: func() error {
		if ready.Load() {
			return nil
		}
		return errNotYet
	}}
	gateway := &fake{}
	r := start(t, s, issuing(policy.build(app.Policy), selfidtest.New(t)), gateway.build(app.Gateway))

	got, err := app.ReadPorts(s.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r.ports, got); diff != "" {
		t.Errorf("ports.json (-running +file):\n%s", diff)
	}
	if got[app.Gateway].REST == "" || got[app.Policy].REST != "" {
		t.Errorf("ports = %+v, want REST of the gateway alone", got)
	}
	if bundle, err := os.ReadFile(filepath.Join(s.DataDir, app.BundleFile)); err != nil || !strings.Contains(string(bundle), "CERTIFICATE") {
		t.Errorf("bundle file of a process that is ready = %q, %v", bundle, err)
	}
	if diff := cmp.Diff([]string{r.ports[app.Policy].GRPC}, gateway.env.Settings.AddressesOf(app.Policy)); diff != "" {
		t.Errorf("addresses that services are told (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{"/readyz": "ok", "/healthz": "ok", "/metrics": "weft_svid_expiry_timestamp_seconds "} {
		if code, body := page(t, r.ports[app.Policy].Admin, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s = %d %q, want %q", path, code, body, want)
		}
	}
	ready.Store(false)
	if code, body := page(t, r.ports[app.Policy].Admin, "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, errNotYet.Error()) {
		t.Errorf("GET /readyz of a service that is not ready = %d %q", code, body)
	}
	if err := r.wait(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if _, err := os.Stat(filepath.Join(s.RunDir, app.PortsFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ports.json is left behind: %v", err)
	}
}

func page(t *testing.T, address, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestStopDrainsCallsFirst(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	policy := &fake{rule: rpc.Services(app.Gateway), call: func(context.Context) error {
		close(entered)
		<-release
		if ended.Load() {
			return errors.New("the service's own work ended before its calls")
		}
		return nil
	}, run: func(ctx context.Context) error {
		<-ctx.Done()
		ended.Store(true)
		return nil
	}}
	caller := &fake{}
	ca := selfidtest.New(t)
	r := start(t, settings(t), issuing(policy.build(app.Policy), ca))
	s := settings(t)
	s.Addresses.Policy = []string{r.ports[app.Policy].GRPC}
	start(t, s, issuing(caller.build(app.Gateway), ca))

	answer := make(chan error, 1)
	client := dial(t, caller.env, app.Policy)
	go func() {
		_, err := get(t.Context(), client)
		answer <- err
	}()
	<-entered
	r.stop()
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("call that ran when the process stopped = %v, want nil", err)
	}
	if err := r.wait(); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

func TestFailuresStopTheProcess(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name  string
		build func(f *fake) app.Build
		want  string
	}{
		{"service fails", func(f *fake) app.Build {
			f.run = func(context.Context) error { return boom }
			return f.build(app.Policy)
		}, "policy: boom"},
		{"service ends", func(f *fake) app.Build {
			f.run = func(context.Context) error { return nil }
			return f.build(app.Policy)
		}, "ended although"},
		{"service cannot be made", func(*fake) app.Build {
			return app.Build{Name: app.Policy, New: func(*app.Env) (app.Service, error) { return nil, boom }}
		}, "make policy: boom"},
		{"method without a rule", func(f *fake) app.Build {
			f.rule = rpc.Anyone()
			b := f.build(app.Policy)
			return app.Build{Name: b.Name, New: func(env *app.Env) (app.Service, error) {
				_, err := b.New(env)
				return ruleless{f}, err
			}}
		}, "no rule says who may call"},
		{"unknown service", func(f *fake) app.Build { return f.build("poetry") }, `"poetry"`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := settings(t)
			err := app.Run(t.Context(), s, zaptest.NewLogger(t), issuing(tc.build(&fake{}), selfidtest.New(t)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Run = %v, want %q", err, tc.want)
			}
		})
	}
}

// TestStopWhileStarting: whoever asks a process to stop that waits for its store gets what they asked for, not a failure.
func TestStopWhileStarting(t *testing.T) {
	s := settings(t)
	s.Store.Kind, s.Store.Endpoints = app.StoreEtcd, []string{"http://127.0.0.1:1"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := app.Run(ctx, s, zaptest.NewLogger(t), (&fake{}).build(app.Policy)); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
}

// ruleless registers methods and says nothing about who may call them.
type ruleless struct{ *fake }

func (r ruleless) Register(reg *rpc.Registrar) {
	identitypb.RegisterIdentityServiceServer(reg, r.fake)
}

func TestPortInUseIsNamed(t *testing.T) {
	first := start(t, settings(t), issuing((&fake{}).build(app.Policy), selfidtest.New(t)))
	s := settings(t)
	var port int
	if _, err := fmt.Sscanf(first.ports[app.Policy].GRPC, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	s.Listen.Policy = port
	err := app.Run(t.Context(), s, zaptest.NewLogger(t), issuing((&fake{}).build(app.Policy), selfidtest.New(t)))
	if err == nil || !strings.Contains(err.Error(), "policy: listen on 127.0.0.1") {
		t.Errorf("Run = %v, want an error that names service and address", err)
	}
}
