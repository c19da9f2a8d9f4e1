package hosts

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/integration/harness"
	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// capturedRig is newRig with programs whose traffic is captured, whatever the flag says.
func capturedRig(t *testing.T, hosts int, ipv6 bool) *rig {
	t.Helper()
	before := *capture
	*capture = "transparent"
	defer func() { *capture = before }()
	return newRig(t, hosts, ipv6)
}

// protocols are those of command echo, with the port that a test gives to each.
func protocols() map[string]int {
	return map[string]int{"http": 8080, "grpc": 9090, "tcp": 7070, "udp": 5300}
}

// serve starts a server of a protocol as an endpoint of the service "echo-<protocol>" and waits until it is one.
func (r *rig) serve(h *lab.Host, protocol string, flags ...string) *harness.Process {
	r.Helper()
	service, port := "echo-"+protocol, protocols()[protocol]
	w := lab.Workload{Name: service + "-1", Service: service, Port: port, Flags: flags}
	if protocol == "udp" {
		w.Protocol = "udp"
	}
	p := r.run(h, w, "weft-echo", "serve", protocol, fmt.Sprintf("0.0.0.0:%d", port), "server-"+protocol)
	r.shows(regexp.QuoteMeta(w.Name)+" .*ready", "services")
	return p
}

// call runs the client of a protocol in the mesh, as account "client", against an address, and returns what it printed.
func (r *rig) call(h *lab.Host, protocol, address, text string) (string, error) {
	r.Helper()
	return h.Call(r.Context(), lab.Workload{Name: "client", Account: "client"}, "weft-echo", "call", protocol, address, text)
}

// within is a port at a host's own address.
func within(h *lab.Host, port int) string { return net.JoinHostPort(h.IP(), strconv.Itoa(port)) }

// TestC12_E3_CapturedProgramsCallByName: programs of four protocols on two hosts call each other by the names of services, which
// nobody told them anything about; the server knows who calls, nothing readable is on the wire, UDP included.
func TestC12_E3_CapturedProgramsCallByName(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := capturedRig(t, 3, ipv6)
		cap, err := r.net.Capture(t.Context(), "wire")
		r.must(err)
		r.up()
		b, c := r.hosts[1], r.hosts[2]
		for protocol := range protocols() {
			r.serve(c, protocol)
		}
		const marker = "in-the-clear-77b1d0"
		for protocol, port := range protocols() {
			address := fmt.Sprintf("echo-%s:%d", protocol, port)
			out, err := r.call(b, protocol, address, marker)
			r.must(err)
			if !strings.Contains(out, "server-"+protocol+" says "+marker) {
				t.Errorf("%s: got %q", address, out)
			}
			if knows := protocol == "http" || protocol == "grpc"; knows && !strings.Contains(out, "spiffe://weft.local/ns/default/sa/client") {
				t.Errorf("%s: the server does not know who calls: %q", address, out)
			}
			r.shows("default/client +default/echo-"+protocol+" ", "top", "--cumulative")
		}
		const control = "in-the-clear-control"
		r.plaintext(b, c, control)
		r.must(cap.Await(t.Context(), control))
		streams, err := cap.Stop()
		r.must(err)
		seen, err := cap.Has(marker)
		r.must(err)
		if found := find(streams, marker); len(found) > 0 || seen {
			t.Errorf("what the programs said is on the wire: %q", found)
		}
		r.onlyTLS(streams)
	})
}

// TestC5_ServiceOrAddress: a call to the service and a call straight to the workload's address both reach it over mTLS, as the
// same edge; a program that is not in the mesh is reached as it always was.
func TestC5_ServiceOrAddress(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	r.serve(c, "http")
	r.serve(c, "tcp")
	r.serve(c, "udp")
	_, err := c.Start("outside", "weft-echo", "serve", "http", within(c, 7000), "server-outside")
	r.must(err)
	cap, err := r.net.Capture(t.Context(), "wire")
	r.must(err)
	const marker = "in-the-clear-0c55e1"
	for _, protocol := range []string{"http", "tcp", "udp"} {
		for _, address := range []string{fmt.Sprintf("echo-%s:%d", protocol, protocols()[protocol]), within(c, protocols()[protocol])} {
			out, err := r.call(b, protocol, address, marker)
			r.must(err)
			if !strings.Contains(out, "server-"+protocol+" says "+marker) {
				t.Errorf("%s: got %q", address, out)
			}
			if protocol == "http" && !strings.Contains(out, "sa/client") {
				t.Errorf("%s: the call is not the mesh's: %q", address, out)
			}
		}
	}
	const control = "in-the-clear-control"
	r.eventually("a program outside of the mesh", func() error {
		out, err := r.call(b, "http", within(c, 7000), control)
		if err == nil && !strings.Contains(out, "server-outside says "+control+" to ") {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	r.must(cap.Await(t.Context(), control))
	streams, err := cap.Stop()
	r.must(err)
	seen, err := cap.Has(marker)
	r.must(err)
	if found := find(streams, marker); len(found) > 0 || seen {
		t.Errorf("what was said to a workload is on the wire: %q", found)
	}
	r.shows(`default/client +default/echo-http .* 100`, "top", "--cumulative")
	r.shows(`default/client +external`, "top", "--cumulative")
}

// TestC12_NobodyGoesRoundTheSidecar: a captured program cannot change the rules, leave its namespace, or mark packets as the
// sidecar's; and without a sidecar its calls fail instead of leaving in plaintext.
func TestC12_NobodyGoesRoundTheSidecar(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	r.serve(c, "http")
	attempts := map[string][]string{
		"change the rules":       {"weft-proxy", "capture", "--remove"},
		"change the routes":      {"ip", "link", "add", "x0", "type", "dummy"},
		"enter another network":  {"nsenter", "--net=/proc/1/ns/net", "true"},
		"make a network":         {"unshare", "--net", "true"},
		"mark its own packets":   {"python3", "-c", "import socket; socket.socket().setsockopt(1, 36, 0x539)"},
		"open a raw socket":      {"python3", "-c", "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)"},
		"open a socket of links": {"python3", "-c", "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"},
	}
	for what, command := range attempts {
		out, code, err := b.Output(t.Context(), append([]string{"weft", "run", "--account", "client", "--capture=transparent", "--"}, command...)...)
		r.must(err)
		if code == 0 || !regexp.MustCompile(`(?i)not permitted|permission denied`).MatchString(out) {
			t.Errorf("a program could %s: exit code %d\n%s", what, code, out)
		}
	}

	// The sidecar is killed while the one who would start it again is stopped.
	caller := r.run(b, lab.Workload{Name: "caller", Account: "client"},
		"weft-echo", "-each", "20ms", "call", "http", fmt.Sprintf("echo-http:%d", protocols()["http"]), "tick")
	r.logged(b, "caller", "server-http says tick")
	caller.Signal(syscall.SIGSTOP)
	killed := harness.KillChild(caller.Pid(), "weft-proxy")
	if killed == 0 {
		t.Fatal("there is no sidecar to kill")
	}
	mark := len(r.read(b, "caller"))
	r.eventually("refusals", func() error {
		if n := strings.Count(r.read(b, "caller")[mark:], "connection refused"); n < 20 {
			return fmt.Errorf("%d calls were refused", n)
		}
		return nil
	})
	// What was answered in that time was under way when the sidecar died: nothing after the first refusal.
	after := r.read(b, "caller")[mark:]
	if at := strings.Index(after, "connection refused"); strings.Contains(after[at:], "says tick") {
		t.Errorf("a call went out without a sidecar:\n%s", after)
	}
	caller.Signal(syscall.SIGCONT)
	mark = len(r.read(b, "caller"))
	r.eventually("calls with the new sidecar", func() error {
		if !strings.Contains(r.read(b, "caller")[mark:], "server-http says tick") {
			return fmt.Errorf("no call was answered")
		}
		return nil
	})
}

// TestC12_NothingStaysBehind: what capture made on a host is gone when the program has ended, and after `weft check --clean` when
// `weft run` was killed.
func TestC12_NothingStaysBehind(t *testing.T) {
	r := capturedRig(t, 2, false)
	r.up()
	b := r.hosts[1]
	out, err := r.call(b, "http", "nowhere.invalid:80", "x")
	if err == nil {
		t.Errorf("a call to nowhere was answered: %s", out)
	}
	clean := func() error {
		links, _, err := b.Output(t.Context(), "ip", "-brief", "link")
		if err != nil {
			return err
		}
		if strings.Contains(links, "weft") {
			return fmt.Errorf("interfaces:\n%s", links)
		}
		forward, _, err := b.Output(t.Context(), "cat", "/proc/sys/net/ipv4/ip_forward")
		if err != nil {
			return err
		}
		if strings.TrimSpace(forward) != "0" {
			return fmt.Errorf("forwarding is %q", forward)
		}
		left, err := filepath.Glob(filepath.Join(b.Dir, "data", "sidecars", "*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("state directories: %q", left)
		}
		return err
	}
	// The state of a named workload stays, so that it can start again without a control plane.
	r.must(os.RemoveAll(filepath.Join(b.Dir, "data", "sidecars")))
	r.must(clean())

	p, err := b.Start("killed", "weft", "run", "--account", "client", "--capture=transparent", "--", "weft-echo", "serve", "http", "127.0.0.1:1", "x")
	r.must(err)
	r.eventually("a captured program", func() error {
		links, _, err := b.Output(t.Context(), "ip", "-brief", "link")
		if err == nil && !strings.Contains(links, "weft-") {
			err = fmt.Errorf("no interface of it:\n%s", links)
		}
		return err
	})
	p.Signal(syscall.SIGKILL)
	r.eventually("what weft check says", func() error {
		out, _, err := b.Weft(t.Context(), "check")
		if err == nil && !strings.Contains(out, "weft check --clean") {
			err = fmt.Errorf("it does not say what to do:\n%s", out)
		}
		return err
	})
	out, code, err := b.Weft(t.Context(), "check", "--clean")
	r.must(err)
	if code != 0 || !strings.Contains(out, "removed:") {
		t.Errorf("weft check --clean: exit code %d\n%s", code, out)
	}
	r.eventually("a clean host", clean)
	if out, _, err := b.Weft(t.Context(), "check", "--clean"); err != nil || !strings.Contains(out, "nothing to remove") {
		t.Errorf("a second time: %v\n%s", err, out)
	}
}

// TestD2_DNSIsNotCaptured: a question to a name server, by UDP and by TCP, leaves as the program sent it, with the host's address.
func TestD2_DNSIsNotCaptured(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	for _, protocol := range []string{"udp", "tcp"} {
		_, err := c.Start("dns-"+protocol, "weft-echo", "serve", protocol, within(c, 53), "dns-"+protocol)
		r.must(err)
	}
	cap, err := r.net.Capture(t.Context(), "wire")
	r.must(err)
	const question = "who-is-web-8d21"
	for _, protocol := range []string{"udp", "tcp"} {
		r.eventually("an answer by "+protocol, func() error {
			out, err := r.call(b, protocol, within(c, 53), question)
			if err == nil && !strings.Contains(out, "dns-"+protocol+" says "+question) {
				err = fmt.Errorf("got %q", out)
			}
			return err
		})
	}
	r.must(cap.Await(t.Context(), question))
	streams, err := cap.Stop()
	r.must(err)
	if found := find(streams, question); len(found) == 0 || !strings.Contains(strings.Join(found, " "), b.IPv4) {
		t.Errorf("the question by TCP is not in the clear from host b: %q", found)
	}
	if out := r.weft(0, "top", "--cumulative"); strings.Contains(out, "external") {
		t.Errorf("questions went through the sidecar:\n%s", out)
	}
}

// TestD5_NamesComeAndGo: a program that runs sees a service's name appear and vanish with the service, with the address that the
// service has.
func TestD5_NamesComeAndGo(t *testing.T) {
	r := capturedRig(t, 2, false)
	r.up()
	b := r.hosts[1]
	r.run(b, lab.Workload{Name: "watcher", Account: "client"}, "sh", "-c", "while :; do grep -w late /etc/hosts || echo none; sleep 0.05; done")
	r.logged(b, "watcher", "^none$")
	r.apply(0, "apiVersion: weft.dev/v1alpha1\nkind: Service\nmetadata: {name: late}\nspec: {accounts: [late]}\n", "--wait")
	address := regexp.MustCompile(`198\.1[89]\.\d+\.\d+`).FindString(r.weft(0, "get", "service", "late", "-o", "json"))
	if address == "" {
		t.Fatal("the service has no virtual address")
	}
	r.logged(b, "watcher", "^"+regexp.QuoteMeta(address)+"\tlate.default late$")
	mark := len(r.read(b, "watcher"))
	r.weft(0, "delete", "service", "late")
	r.eventually("the name is gone", func() error {
		if text := r.read(b, "watcher")[mark:]; !strings.HasSuffix(text, "none\n") {
			return fmt.Errorf("it is there still")
		}
		return nil
	})
}

// read is what a program has printed.
func (r *rig) read(h *lab.Host, name string) string {
	r.Helper()
	data, err := os.ReadFile(h.Log(name))
	r.must(err)
	return string(data)
}
