package hosts

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// TestE1_E3_WireBetweenHosts: HTTP, gRPC and another TCP protocol between programs on three hosts, which speak plaintext and
// know nothing of it, are TLS 1.3 on the wire, and so is all that goes to and from the control plane; nothing was set. What
// they say never appears. The same text said without the mesh does, so the capture would have seen it.
func TestE1_E3_WireBetweenHosts(t *testing.T) {
	families(t, func(t *testing.T, ipv6 bool) {
		r := newRig(t, 3, ipv6)
		a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
		cap, err := r.net.Capture(t.Context(), "wire")
		r.must(err)
		r.up()
		r.run(c, lab.Workload{Name: "store-1", Service: "store", Port: 6379, Protocol: "tcp"}, "weft-shop", "store", "--listen", "127.0.0.1:6379")
		r.run(b, lab.Workload{Name: "cart-1", Service: "cart", Port: 9090, Upstreams: []string{"store"}},
			"weft-shop", "cart", "--listen", "127.0.0.1:9090", "--store", b.Address("store", 6379))
		r.reviews(c, "reviews-1", "v1", 9080)
		for _, name := range []string{"store-1", "cart-1", "reviews-1"} {
			r.shows(name+" .*ready", "services")
		}
		r.run(a, lab.Workload{Name: "web-1", Service: "web", Port: 8080, Upstreams: []string{"reviews", "cart"}},
			"weft-shop", "web", "--listen", "127.0.0.1:8080", "--reviews", a.Address("reviews", 9080), "--cart", a.Address("cart", 9090))
		r.shows("web-1 .*ready", "services")

		const marker = "in-the-clear-3f9a61"
		out, err := b.Call(t.Context(), lab.Workload{Name: "client-1", Account: "client", Upstreams: []string{"web"}},
			"curl", "-fsS", "--max-time", "20", fmt.Sprintf("http://%s/product/%s-[1-5]", b.Address("web", 8080), marker))
		r.must(err)
		if n := strings.Count(out, `"product":"`+marker); n != 5 {
			t.Fatalf("%d of 5 answers name the product:\n%s", n, out)
		}
		for _, edge := range []string{`default/client +default/web +http`, `default/web +default/cart +grpc`, `default/cart +default/store +tcp`} {
			r.shows(edge, "top", "--cumulative")
		}
		const control = "in-the-clear-control"
		r.plaintext(b, c, control)
		r.must(cap.Await(t.Context(), control))
		streams, err := cap.Stop()
		r.must(err)
		if has, err := cap.Has(marker); has || err != nil {
			t.Errorf("what the programs said is on the wire: %v (%v), in the streams %q", has, err, find(streams, marker))
		}
		if found := find(streams, control); len(found) == 0 {
			t.Error("the plaintext that was sent on purpose is in no stream: finding nothing else there proves nothing")
		}
		r.onlyTLS(streams)
	})
}

// plaintext sends some text from one host to another without a mesh.
func (r *rig) plaintext(from, to *lab.Host, text string) {
	r.Helper()
	_, err := to.Start("plain", "weft-shop", "reviews", "--listen", net.JoinHostPort(to.IP(), strconv.Itoa(plainPort)))
	r.must(err)
	r.eventually("plain HTTP between hosts", func() error {
		_, err := from.Curl(r.Context(), "http://"+net.JoinHostPort(to.IP(), strconv.Itoa(plainPort))+"/reviews/"+text)
		return err
	})
}

// plainPort is where tests talk without a mesh.
const plainPort = 7777

// onlyTLS wants every byte between the hosts, except what tests say in the clear, to be TLS 1.3: on mesh ports, and to and
// from the control plane.
func (r *rig) onlyTLS(streams []lab.Stream) {
	r.Helper()
	var mesh, control, bytes int
	for _, s := range streams {
		if s.From.Port() == plainPort || s.To.Port() == plainPort || len(s.Data) == 0 {
			continue
		}
		if err := lab.CheckTLS13(s); err != nil {
			r.Error(err)
		}
		bytes += len(s.Data)
		if ofControlPlane(s.From.Port()) || ofControlPlane(s.To.Port()) {
			control++
		} else {
			mesh++
		}
	}
	r.Logf("%d streams between sidecars and %d with the control plane, %d bytes", mesh, control, bytes)
	if mesh < 6 || control == 0 { // three hops, two ways
		r.Error("the capture has not seen the mesh")
	}
}

func ofControlPlane(port uint16) bool { return port >= 9700 && port <= 9815 }
