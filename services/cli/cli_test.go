package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// weft runs a command line without a control plane and returns what it printed and its exit code.
func weft(t *testing.T, args ...string) (string, int) {
	t.Helper()
	t.Setenv("WEFT_TOKEN", "none")
	var out bytes.Buffer
	code := Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	return out.String(), code
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, 0},
		{"anything", errors.New("x"), 1},
		{"usage", usageError{errors.New("x")}, 2},
		{"invalid", status.Error(codes.InvalidArgument, "x"), 3},
		{"not found", fmt.Errorf("get: %w", status.Error(codes.NotFound, "x")), 4},
		{"exists", status.Error(codes.AlreadyExists, "x"), 5},
		{"conflict", status.Error(codes.Aborted, "x"), 5},
		{"denied", status.Error(codes.PermissionDenied, "x"), 6},
		{"nobody", status.Error(codes.Unauthenticated, "x"), 6},
		{"away", status.Error(codes.Unavailable, "x"), 7},
		{"slow", status.Error(codes.DeadlineExceeded, "x"), 7},
		{"not converged", codeError{code: exitNotConverged}, 8},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%s: exit code %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestDescribeNamesEveryField(t *testing.T) {
	s, err := status.New(codes.InvalidArgument, "route \"a\" is invalid: spec.x: no").WithDetails(&errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "spec.x", Description: "must be 1"}, {Field: "spec.y", Description: "must be 2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "route \"a\" is invalid:\n  spec.x: must be 1\n  spec.y: must be 2"
	if got := describe(s.Err()); got != want {
		t.Errorf("describe = %q, want %q", got, want)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, "unknown command"},
		{[]string{"apply"}, "file"},
		{[]string{"apply", "-f", "/no/such/file"}, "no such file"},
		{[]string{"get", "bananas"}, "allowed are services, workloads, routes, accesspolicies, meshconfigs"},
		{[]string{"top", "--by", "colour"}, "allowed are service, workload, version, edge"},
		{[]string{"run", "--service", "x", "--", "true"}, "--service needs --port"},
		{[]string{"run", "--", "true"}, "--account"},
		{[]string{"delete", "route"}, "either KIND NAME or -f FILE"},
		{[]string{"services", "--no-such-flag"}, "--help"},
		{[]string{"services", "-o", "xml"}, "allowed are json and yaml"},
		{[]string{"services", "--gateway", "127.0.0.1:1,nowhere"}, "missing port"},
		{[]string{"token", "create"}, "weft token needs one of admin, host, join, not \"create\""},
		{[]string{"token", "admin"}, "needs one of create, delete, list"},
		{[]string{"run", "--account", "me"}, "the program to start"},
	} {
		out, code := weft(t, tc.args...)
		if code != exitUsage || !strings.Contains(out, tc.says) {
			t.Errorf("weft %v: exit code %d and %q, want %d and something with %q", tc.args, code, out, exitUsage, tc.says)
		}
	}
}

func TestNoControlPlaneIsSaid(t *testing.T) {
	out, code := weft(t, "get", "routes", "--gateway", "127.0.0.1:1", "--timeout", "2s")
	if code != exitUnavailable || !strings.Contains(out, "weft up") {
		t.Errorf("exit code %d and %q, want %d and advice", code, out, exitUnavailable)
	}
}

// TestGatewayReplicas: the next one is asked when the first does not answer.
func TestGatewayReplicas(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer() // serves nothing: its answer is all that is asked for
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	out, code := weft(t, "get", "routes", "--gateway", "127.0.0.1:1,"+ln.Addr().String())
	if code != exitError || !strings.Contains(out, "unknown service") {
		t.Errorf("exit code %d and %q, want the answer of the second gateway", code, out)
	}
}

func TestNoAnswerInTimeIsSaid(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
		<-st.Context().Done()
		return nil
	}))
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	out, code := weft(t, "get", "routes", "--gateway", ln.Addr().String(), "--timeout", "500ms")
	if code != exitUnavailable || !strings.Contains(out, "no answer within 500ms") {
		t.Errorf("exit code %d and %q, want %d and the time", code, out, exitUnavailable)
	}
}

func TestTableKeepsItsColumns(t *testing.T) {
	var out bytes.Buffer
	table(&out, [][]string{{"A", "B", "C"}, {"1", "2", "3"}, {"none"}, {"long name", "4", ""}})
	want := "A          B  C\n1          2  3\nnone\nlong name  4\n"
	if got := out.String(); got != want {
		t.Errorf("table:\n%s\nwant:\n%s", got, want)
	}
}

// TestRunKeepsOnlyWhatCanBeFoundAgain: a state directory with a random name is of no use after the program.
func TestRunKeepsOnlyWhatCanBeFoundAgain(t *testing.T) {
	for _, tc := range []struct {
		flags     runFlags
		temporary bool
	}{
		{runFlags{account: "me"}, true},
		{runFlags{account: "me", name: "me-1"}, false},
		{runFlags{account: "me", stateDir: "/d"}, false},
	} {
		f := tc.flags
		if err := f.complete(); err != nil || f.temporary != tc.temporary {
			t.Errorf("%+v: temporary %v, %v", tc.flags, f.temporary, err)
		}
	}
}

func TestSubstituteAndEnv(t *testing.T) {
	upstreams := map[string]string{"reviews": "127.0.0.1:1", "other/cart-v2": "127.0.0.1:2"}
	if got := substitute("http://{reviews}/{id}?c={other/cart-v2}", upstreams); got != "http://127.0.0.1:1/{id}?c=127.0.0.1:2" {
		t.Errorf("substitute = %q", got)
	}
	if got := envName("other/cart-v2"); got != "OTHER_CART_V2" {
		t.Errorf("envName = %q", got)
	}
	t.Setenv("WEFT_TOKEN", "secret")
	for _, kv := range programEnv(upstreams) {
		if strings.Contains(kv, "secret") {
			t.Errorf("the program's environment holds the credential: %s", kv)
		}
	}
}

func TestUpstreamNames(t *testing.T) {
	got := upstreamNames(map[string]string{
		"default/reviews": "1", "default/dns:53": "2", "default/dns:53/udp": "3", "ops/log:514/udp": "4", "ops/udp:1": "5", "sys/udp": "6",
	})
	want := map[string]string{
		"reviews": "1", "default/reviews": "1", "dns": "2", "default/dns": "2", "dns/udp": "3", "default/dns/udp": "3",
		"log/udp": "4", "ops/log/udp": "4", "log": "4", "ops/log": "4", "ops/udp": "5", "sys/udp": "6",
	}
	delete(got, "udp") // two of one name: either
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got := envName("dns/udp"); got != "DNS_UDP" {
		t.Errorf("envName = %q", got)
	}
}

func TestProgramExitCode(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		if got := programExitCode(exec.Command("sh", "-c", script).Run()); got != want {
			t.Errorf("%q: %d, want %d", script, got, want)
		}
	}
	_, err := startProgram([]string{"no-such-program-anywhere"}, nil, &place{})
	if got := programStartCode(err); got != exitProgramNotFound {
		t.Errorf("missing program: %d, want %d", got, exitProgramNotFound)
	}
	_, err = startProgram([]string{"/etc"}, nil, &place{})
	if got := programStartCode(err); got != exitProgramNoExec {
		t.Errorf("a folder: %d, want %d", got, exitProgramNoExec)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "-", 240 * time.Microsecond: "240µs", 1530 * time.Microsecond: "1.5ms", 42 * time.Millisecond: "42ms",
		2100 * time.Millisecond: "2.1s", 23*time.Hour + 59*time.Minute + 40*time.Second: "24h0m",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestReportNamesWhoIsNotThere(t *testing.T) {
	var out bytes.Buffer
	report(&out, &configpb.Convergence{Affected: 3, Applied: 1, Behind: []string{"default/a"}, Away: []string{"default/b"},
		Refused: []*configpb.Refusal{{Sidecar: "default/c", Nacks: []*configpb.Nack{{Resource: "access", Error: "unknown field"}}}}})
	for _, want := range []string{"applied by 1 of 3", "behind: default/a", "default/b", "default/c: access: unknown field"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("report %q does not say %q", out.String(), want)
		}
	}
}

func TestAdvanceKeepsTheNewest(t *testing.T) {
	v := &typepb.RevisionVector{}
	for _, seq := range []uint64{5, 9, 7} {
		advance(v, &typepb.SourceRevision{Source: typepb.Source_SOURCE_POLICY, Seq: seq})
	}
	advance(v, &typepb.SourceRevision{Source: typepb.Source_SOURCE_DISCOVERY, Seq: 1})
	advance(v, nil)
	if got := vector(v); got != "policy@9 discovery@1" {
		t.Errorf("vector = %q", got)
	}
}
