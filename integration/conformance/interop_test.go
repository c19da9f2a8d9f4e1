package conformance

import (
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

var stressFor = flag.Duration("stress", 3*time.Second, "how long TestR8_GRPCStress goes on")

// TestR8_GRPCInterop runs grpc-go's interop client against its interop server, both as they are, in every case that needs
// neither an account of a cloud nor several addresses. Nobody has declared what the port speaks.
func TestR8_GRPCInterop(t *testing.T) {
	modes(t, func(w *world) {
		address := w.interop("")
		host, port, err := net.SplitHostPort(address)
		w.must(err)
		w.Run("case", func(t *testing.T) {
			for _, name := range []string{
				"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
				"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response", "status_code_and_message",
				"special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
				"orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					args := []string{
						"-server_host", host, "-server_port", port, "-test_case", name,
						// Slowness is not what is looked for.
						"-soak_per_iteration_max_acceptable_latency_ms", "30000", "-soak_overall_timeout_seconds", "60",
					}
					if name == "orca_per_rpc" || name == "orca_oob" {
						args = append(args, "-service_config_json", `{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`)
					}
					interopProgram(t, "interop-client", args...)
				})
			}
		})
	})
}

// TestR8_GRPCStress runs grpc-go's stress client: calls of all kinds at once, until the time is over or one of them fails.
func TestR8_GRPCStress(t *testing.T) {
	modes(t, func(w *world) {
		interopProgram(w.T, "interop-stress", "-server_addresses", w.interop("grpc"),
			"-num_channels_per_server", "4", "-num_stubs_per_channel", "8", "-metrics_port", "0",
			"-test_duration_secs", strconv.Itoa(int(stressFor.Seconds())),
			"-test_cases", "empty_unary:20,large_unary:10,client_streaming:5,server_streaming:5,ping_pong:10,empty_stream:10,"+
				"timeout_on_sleeping_server:5,cancel_after_begin:10,cancel_after_first_response:10,status_code_and_message:10,custom_metadata:10")
		w.stressed()
	})
}

// stressed wants what the sidecars have seen to be failures of the client's own making only: it cancels, and has deadlines, at
// which the server resets what it still has.
func (w *world) stressed() {
	w.Helper()
	var top struct {
		Rows []struct {
			Requests string
			Failures map[string]string
		}
	}
	w.eventually(func() error {
		w.must(json.Unmarshal([]byte(w.weft("top", "--by", "edge", "--cumulative", "-o", "json")), &top))
		if len(top.Rows) == 0 {
			return errors.New("no traffic was reported")
		}
		return nil
	})
	for _, row := range top.Rows {
		w.Logf("%s requests, of them %v", row.Requests, row.Failures)
		for reason, n := range row.Failures {
			if !slices.Contains([]string{"client_gone", "timeout", "upstream_reset"}, reason) {
				w.Errorf("%s failed by %s", n, reason)
			}
		}
	}
}

// interop starts the interop server in the mesh and returns where a client reaches it.
func (w *world) interop(protocol string) string {
	w.Helper()
	port := w.port()
	w.service("interop", protocol, port, interopPath(w.T, "interop-server"), "-port", strconv.Itoa(port))
	return w.client("interop").upstream("interop")
}

// interopProgram runs one of the programs to its end and returns its output.
func interopProgram(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), interopPath(t, name), args...)
	cmd.Env = append(os.Environ(), "GRPC_GO_LOG_SEVERITY_LEVEL=error")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out
}

func interopPath(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("WEFT_INTEROP")
	if dir == "" {
		t.Fatal("WEFT_INTEROP is not set: run `make conformance`")
	}
	return filepath.Join(dir, name)
}
