package hosts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// mode sets the mesh's mTLS mode and waits until it is in force.
func (r *rig) mode(spec string) {
	r.Helper()
	r.apply(0, "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\nspec: {"+spec+"}\n", "--wait")
}

// unmeshed starts a server without a sidecar on a host and tells the mesh of it, as the service "bare-<protocol>".
func (r *rig) unmeshed(h *lab.Host, protocol string) int {
	r.Helper()
	port := protocols()[protocol] + 1
	_, err := h.Start("bare-"+protocol, "weft-echo", "serve", protocol, within(h, port), "bare-"+protocol)
	r.must(err)
	wire := protocol
	if protocol == "udp" {
		wire = "udp"
	}
	r.apply(0, fmt.Sprintf(`apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: bare-%[1]s}
spec: {accounts: [bare]}
---
apiVersion: weft.dev/v1alpha1
kind: Workload
metadata: {name: bare-%[1]s-1}
spec: {account: bare, services: [bare-%[1]s], address: "%[2]s", ports: [{port: %[3]d, protocol: %[4]s}]}
`, protocol, h.IP(), port, wire), "--wait")
	return port
}

// outcome is what one call of the matrix has to come to.
type outcome struct {
	answered bool
	// clear: what was said is readable on the wire.
	clear bool
}

// expected follows the specification: off is plaintext everywhere; permissive prefers mTLS and takes and makes plaintext calls
// where the other side has no sidecar; strict does neither. What has no sidecar on either side is not the mesh's.
func expected(mode string, meshedClient, meshedServer bool) outcome {
	switch {
	case !meshedClient && !meshedServer, mode == "off":
		return outcome{answered: true, clear: true}
	case meshedClient && meshedServer:
		return outcome{answered: true}
	default:
		return outcome{answered: mode == "permissive", clear: mode == "permissive"}
	}
}

// TestE7_ModesOnTheWire is the matrix of modes, clients and servers with and without a sidecar, and protocols, with captured
// programs on hosts of their own: what is answered, and whether it can be read on the wire.
func TestE7_ModesOnTheWire(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	bare := map[string]int{}
	for protocol := range protocols() {
		r.serve(c, protocol)
		bare[protocol] = r.unmeshed(c, protocol)
	}
	for _, mode := range []string{"off", "permissive", "strict"} {
		r.mode("mtls: " + mode)
		cap, err := r.net.Capture(t.Context(), mode)
		r.must(err)
		said := map[string]outcome{}
		for protocol, port := range protocols() {
			for _, client := range []bool{true, false} {
				for _, server := range []bool{true, false} {
					text := fmt.Sprintf("%s-%s-client-%v-server-%v-said", mode, protocol, client, server)
					want := expected(mode, client, server)
					said[text] = want
					address := within(c, port)
					switch {
					case client && server:
						address = fmt.Sprintf("echo-%s:%d", protocol, port)
					case client:
						address = fmt.Sprintf("bare-%s:%d", protocol, bare[protocol])
					case !server:
						address = within(c, bare[protocol])
					}
					r.expect(b, client, protocol, address, text, want.answered)
				}
			}
		}
		const control = "said-without-a-mesh"
		r.plaintextOnce(b, c, control)
		r.must(cap.Await(t.Context(), control))
		_, err = cap.Stop()
		r.must(err)
		for text, want := range said {
			seen, err := cap.Has(text)
			r.must(err)
			// What is refused may be on the wire as far as to who refuses it, when the client has no sidecar.
			if seen != want.clear && (want.answered || strings.Contains(text, "client-true")) {
				t.Errorf("%s: readable on the wire: %v, want %v", text, seen, want.clear)
			}
		}
	}
}

// expect makes one call of the matrix.
func (r *rig) expect(h *lab.Host, meshed bool, protocol, address, text string, answered bool) {
	r.Helper()
	var out string
	var err error
	if meshed {
		out, err = r.call(h, protocol, address, text)
	} else {
		var code int
		out, code, err = h.Output(r.Context(), "weft-echo", "call", protocol, address, text)
		r.must(err)
		if code != 0 {
			err = fmt.Errorf("exit code %d: %s", code, out)
		}
	}
	got := err == nil && strings.Contains(out, " says "+text)
	if got != answered {
		r.Errorf("%s to %s, answered: %v, want %v: %s %v", text, address, got, answered, out, err)
	}
	if !answered && protocol == "http" && err != nil && !strings.Contains(err.Error(), "reason=") {
		r.Errorf("%s is refused without a reason: %v", text, err)
	}
}

// plaintextOnce is plaintext for more than one time in a test.
func (r *rig) plaintextOnce(from, to *lab.Host, text string) {
	r.Helper()
	name := fmt.Sprintf("plain-%d", time.Now().UnixNano())
	p, err := to.Start(name, "weft-echo", "serve", "http", within(to, plainPort), "plain")
	r.must(err)
	defer p.End()
	r.eventually("plain HTTP between hosts", func() error {
		_, err := from.Curl(r.Context(), "-d", text, "http://"+within(to, plainPort)+"/")
		return err
	})
}

// TestID3_T2_NothingButWhatIsAllowed: strict and deny by default, three tiers of captured programs. Only the edges that are listed
// work, by name or by address, with a sidecar or without one; switching one edge changes that edge and no other.
func TestID3_T2_NothingButWhatIsAllowed(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	tiers := map[string]int{"web": 8101, "api": 8102, "db": 8103}
	for tier, port := range tiers {
		r.run(c, lab.Workload{Name: tier + "-1", Service: tier, Port: port, Protocol: "http"}, "weft-echo", "serve", "http", fmt.Sprintf("0.0.0.0:%d", port), tier)
		r.shows(tier+"-1 .*ready", "services")
	}
	r.mode("mtls: strict, access: deny")
	allow := func(to, from string) {
		r.apply(0, fmt.Sprintf("apiVersion: weft.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: to-%[1]s}\nspec: {destination: {account: %[1]s}, allow: [{from: [{account: %[2]s}]}]}\n", to, from), "--wait")
	}
	check := func(when string, edges ...string) {
		t.Helper()
		for _, from := range []string{"web", "api", "db", "stranger"} {
			for to, port := range tiers {
				for _, address := range []string{fmt.Sprintf("%s:%d", to, port), within(c, port)} {
					want := strings.Contains(strings.Join(edges, " "), from+">"+to)
					out, err := b.Call(t.Context(), lab.Workload{Name: "caller", Account: from}, "weft-echo", "call", "http", address, "x")
					if got := err == nil && strings.Contains(out, to+" says x"); got != want {
						t.Errorf("%s, %s calls %s at %s: answered %v, want %v: %s %v", when, from, to, address, got, want, out, err)
					}
					if !want && err != nil && !strings.Contains(err.Error(), "reason=denied") {
						t.Errorf("%s, %s calls %s at %s: the refusal does not say why: %v", when, from, to, address, err)
					}
				}
			}
		}
		for to, port := range tiers {
			if out, code, err := b.Output(t.Context(), "weft-echo", "call", "http", within(c, port), "x"); err != nil || code == 0 {
				t.Errorf("%s, a program without a sidecar reached %s: %v %s", when, to, err, out)
			}
		}
	}
	check("nothing is allowed")
	allow("api", "web")
	allow("db", "api")
	check("two edges", "web>api", "api>db")
	r.weft(0, "delete", "accesspolicy", "to-db", "--wait")
	check("one edge switched off", "web>api")
	allow("db", "web")
	check("another one switched on", "web>api", "web>db")
}

// TestE3_StrictEgress: in strict mode a captured program reaches nothing outside of the mesh but what an external service names.
func TestE3_StrictEgress(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	for name, protocol := range map[string]string{"partner": "http", "partner-tcp": "tcp", "partner-udp": "udp"} {
		_, err := c.Start(name, "weft-echo", "serve", protocol, within(c, 7000+len(name)), name)
		r.must(err)
	}
	calls := func(answered bool) error {
		for name, protocol := range map[string]string{"partner": "http", "partner-tcp": "tcp", "partner-udp": "udp"} {
			out, err := r.call(b, protocol, within(c, 7000+len(name)), "x")
			if got := err == nil && strings.Contains(out, name+" says x"); got != answered {
				return fmt.Errorf("%s by %s: answered %v, want %v: %s %w", name, protocol, got, answered, out, err)
			}
			if protocol == "http" && !answered && !strings.Contains(err.Error(), "reason=egress") {
				return fmt.Errorf("the refusal does not say why: %w", err)
			}
		}
		return nil
	}
	r.eventually("calls to the outside of a permissive mesh", func() error { return calls(true) })
	r.mode("mtls: strict")
	r.must(calls(false))
	r.apply(0, fmt.Sprintf("apiVersion: weft.dev/v1alpha1\nkind: ExternalService\nmetadata: {name: partner}\nspec: {addresses: [%q], ports: [7007, 7011]}\n", c.IP()), "--wait")
	r.must(calls(true))
	r.shows(`default/client +default/partner +- +100.00% +\S+ +3 `, "top", "--window", "10m") // one by each protocol
	r.weft(0, "delete", "externalservice", "partner", "--wait")
	r.must(calls(false))
}
