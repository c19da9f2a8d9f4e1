package rpc_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const getBundle = identitypb.IdentityService_GetBundle_FullMethodName

func allow(rule rpc.Allow) func(*rpc.Registrar) {
	return func(r *rpc.Registrar) { r.AllowService(&identitypb.IdentityService_ServiceDesc, rule) }
}

func call(t *testing.T, c identitypb.IdentityServiceClient) error {
	t.Helper()
	_, err := c.GetBundle(t.Context(), &identitypb.GetBundleRequest{})
	return err
}

func TestID4_CallerIsTheVerifiedPeer(t *testing.T) {
	var got rpc.Caller
	r := start(t, &methods{bundle: func(ctx context.Context) error { got = rpc.CallerFrom(ctx); return nil }}, false, allow(rpc.Workloads()))
	if err := call(t, r.client(workload("web"))); err != nil {
		t.Fatal(err)
	}
	if want := (rpc.Caller{Account: workload("web")}); got != want {
		t.Errorf("caller = %+v, want %+v", got, want)
	}
}

func TestRulesRefuse(t *testing.T) {
	forbidden := &methods{bundle: func(context.Context) error {
		return errors.New("the handler of a refused call ran")
	}}
	tests := []struct {
		name  string
		rules func(*rpc.Registrar)
		as    spiffe.Account
		want  codes.Code
		text  string
	}{
		{"no rule", func(*rpc.Registrar) {}, system("gateway"), codes.PermissionDenied, getBundle},
		{"another service", allow(rpc.Services("gateway")), system("telemetry"), codes.PermissionDenied, "weft-system/telemetry"},
		{"a workload of that name", allow(rpc.Services("gateway")), workload("gateway"), codes.PermissionDenied, "default/gateway"},
		{"a service where workloads are meant", allow(rpc.Workloads()), system("gateway"), codes.PermissionDenied, "weft-system/gateway"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := call(t, start(t, forbidden, false, tc.rules).client(tc.as))
			if status.Code(err) != tc.want || !strings.Contains(fmt.Sprint(err), tc.text) {
				t.Errorf("call = %v, want %v that names %q", err, tc.want, tc.text)
			}
		})
	}
}

func TestHandshakesRefuse(t *testing.T) {
	r := start(t, &methods{bundle: func(context.Context) error { return nil }}, false, allow(rpc.Anyone()))
	foreign := testca.New(t, "weft.local")
	tests := map[string]identitypb.IdentityServiceClient{
		"expired client":               r.client(workload("web"), testca.Expired()),
		"client of another CA":         r.dial(rpc.DialConfig{Service: "policy", Trust: foreign.Source(t, workload("web"), testca.Trusting(r.ca))}),
		"server of another CA":         r.dial(rpc.DialConfig{Service: "policy", Trust: foreign.Source(t, workload("web"))}),
		"server of another service":    r.dial(rpc.DialConfig{Service: "identity", Trust: r.ca.Source(t, workload("web"))}),
		"client without a certificate": anonymous(t, r),
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if err := call(t, c); status.Code(err) != codes.Unavailable {
				t.Errorf("call = %v, want %v", err, codes.Unavailable)
			}
		})
	}
}

// anonymous is a client that trusts anything and has nothing to show.
func anonymous(t *testing.T, r *rig, check ...func(tls.ConnectionState) error) identitypb.IdentityServiceClient {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if len(check) > 0 {
		cfg.VerifyConnection = check[0]
	}
	conn, err := grpc.NewClient("passthrough:///policy", grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(memoryDialer(r)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return identitypb.NewIdentityServiceClient(conn)
}

func TestAnonymousCallers(t *testing.T) {
	m := &methods{bundle: func(ctx context.Context) error {
		if !rpc.CallerFrom(ctx).Anonymous() {
			return errors.New("caller has an identity")
		}
		return nil
	}}
	r := start(t, m, true, allow(rpc.Anyone()))
	var chain []*x509.Certificate
	c := anonymous(t, r, func(s tls.ConnectionState) error { chain = s.PeerCertificates; return nil })
	if err := call(t, c); err != nil {
		t.Error(err)
	}
	if len(chain) != 2 || !chain[1].Equal(r.ca.Root()) {
		t.Errorf("chain has %d certificates, want the root behind the leaf", len(chain))
	}

	r = start(t, m, true, allow(rpc.Workloads()))
	if err := call(t, anonymous(t, r)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("call of a method for workloads = %v, want %v", err, codes.Unauthenticated)
	}
}

func TestPrincipalOnlyFromTheGateway(t *testing.T) {
	var got rpc.Caller
	r := start(t, &methods{bundle: func(ctx context.Context) error { got = rpc.CallerFrom(ctx); return nil }}, false, allow(rpc.Anyone()))
	for _, tc := range []struct {
		as   spiffe.Account
		want string
	}{{system("gateway"), "ann at ünïcode"}, {system("telemetry"), ""}, {workload("gateway"), ""}} {
		ctx := rpc.WithPrincipal(t.Context(), "ann at ünïcode", []string{"shop", "web"})
		if _, err := r.client(tc.as).GetBundle(ctx, &identitypb.GetBundleRequest{}); err != nil {
			t.Fatal(err)
		}
		if got.Principal != tc.want {
			t.Errorf("principal from %v = %q, want %q", tc.as, got.Principal, tc.want)
		}
		if restricted := tc.want != ""; got.Sees("shop") != true || got.Sees("bank") == restricted {
			t.Errorf("from %v: sees namespaces %q", tc.as, got.Namespaces)
		}
	}
}

func TestFaultsTravel(t *testing.T) {
	fields := []fault.Field{{Path: "spec.rules[0]", Problem: "is empty"}, {Path: "spec.service", Problem: "is missing"}}
	tests := []struct {
		err  error
		code codes.Code
		want *fault.Error
	}{
		{fault.InvalidFields("route", fields), codes.InvalidArgument, &fault.Error{Kind: fault.Invalid, Fields: fields}},
		{fmt.Errorf("get: %w", fault.New(fault.NotFound, "no route")), codes.NotFound, &fault.Error{Kind: fault.NotFound}},
		{fault.New(fault.Exists, "there"), codes.AlreadyExists, &fault.Error{Kind: fault.Exists}},
		{fault.New(fault.Conflict, "changed"), codes.Aborted, &fault.Error{Kind: fault.Conflict}},
		{fault.New(fault.Denied, "no"), codes.PermissionDenied, &fault.Error{Kind: fault.Denied}},
		{fault.New(fault.Anonymous, "who"), codes.Unauthenticated, &fault.Error{Kind: fault.Anonymous}},
		{fault.New(fault.Unavailable, "later"), codes.Unavailable, &fault.Error{Kind: fault.Unavailable}},
		{&fault.Error{Kind: fault.Exhausted, RetryAfter: time.Second}, codes.ResourceExhausted, &fault.Error{Kind: fault.Unavailable}},
		{errors.New("unforeseen"), codes.Internal, &fault.Error{Kind: fault.Internal}},
		{status.Error(codes.ResourceExhausted, "passed on"), codes.ResourceExhausted, &fault.Error{Kind: fault.Unavailable}},
	}
	for _, tc := range tests {
		t.Run(tc.code.String(), func(t *testing.T) {
			r := start(t, &methods{bundle: func(context.Context) error { return tc.err }}, false, allow(rpc.Anyone()))
			err := call(t, r.client(workload("web")))
			if status.Code(err) != tc.code {
				t.Errorf("code = %v (%v), want %v", status.Code(err), err, tc.code)
			}
			var got *fault.Error
			if !errors.As(rpc.FaultOf(err), &got) {
				t.Fatalf("FaultOf(%v) is no fault", err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(fault.Error{}, "Text"), cmpopts.IgnoreUnexported(fault.Error{})); diff != "" {
				t.Errorf("fault (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaultOfLeavesOtherErrors(t *testing.T) {
	plain := errors.New("plain")
	if got := rpc.FaultOf(plain); !errors.Is(got, plain) {
		t.Errorf("FaultOf = %v, want %v", got, plain)
	}
	if got := rpc.FaultOf(nil); got != nil {
		t.Errorf("FaultOf(nil) = %v", got)
	}
}

func TestPanicIsOneRequestsFault(t *testing.T) {
	r := start(t, &methods{bundle: func(context.Context) error { panic("oops") }}, false, allow(rpc.Anyone()))
	c := r.client(workload("web"))
	for range 2 {
		if err := call(t, c); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "oops") {
			t.Errorf("call = %v, want %v without the panic's text", err, codes.Internal)
		}
	}
	want := `
# HELP weft_rpc_requests_total Finished RPCs by method and gRPC code.
# TYPE weft_rpc_requests_total counter
weft_rpc_requests_total{code="Internal",method="` + getBundle + `"} 2
`
	if err := testutil.GatherAndCompare(r.metrics, strings.NewReader(strings.TrimLeft(want, "\n")), "weft_rpc_requests_total"); err != nil &&
		!strings.Contains(err.Error(), "grpc.health") { // the health watch of the client counts too once it ends
		t.Error(err)
	}
}

func TestCheckNamesMethodsWithoutRule(t *testing.T) {
	r := start(t, &methods{}, false, func(r *rpc.Registrar) { r.Allow(getBundle, rpc.Anyone()) })
	err := r.server.Check()
	if err == nil || strings.Contains(err.Error(), getBundle) || !strings.Contains(err.Error(), "CreateJoinToken") {
		t.Errorf("Check = %v, want every method but %s", err, getBundle)
	}
}

func TestConnectionEndsWithItsAuthority(t *testing.T) {
	r := start(t, &methods{bundle: func(context.Context) error { return nil }}, false, allow(rpc.Anyone()))
	c := r.client(workload("web"))
	if err := call(t, c); err != nil {
		t.Fatal(err)
	}
	r.trust.SetBundle(testca.New(t, "weft.local").Bundle())
	if err := call(t, c); status.Code(err) != codes.Unauthenticated {
		t.Errorf("call after the authority was dropped = %v, want %v", err, codes.Unauthenticated)
	}
}
