package walktest

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestUDPUnderChange changes the endpoints, the access and the mTLS mode under the feet of clients that ask all the time:
// nobody ever gets an answer that is not his own, and once all is well
// again everybody is served.
func TestUDPUnderChange(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	echo := func(name string) func([]byte, netip.AddrPort) []byte {
		return func(b []byte, _ netip.AddrPort) []byte { return []byte(name + " " + string(b)) }
	}
	first := m.Workload("dns", "dns-1", udpProgram(t, echo("dns-1")), m.Allow("shop"))
	second := m.Workload("dns", "dns-2", udpProgram(t, echo("dns-2")), m.Allow("shop"))
	c := m.Client("shop")
	addr := c.packets("dns")

	const clients, changes = 8, 20
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		udp := udpDial(t, addr)
		asking.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ask(t, udp, fmt.Sprintf("%d/%d", i, n))
			}
		})
	}
	for n := range changes {
		switch n % 5 {
		case 0:
			m.Remove(first.Endpoint.Key)
		case 1:
			m.Add(first.Endpoint)
		case 2:
			for _, w := range []*Workload{first, second} {
				w.configure(func(t *table.Table) { t.Access = m.Allow("nobody") })
			}
			continue
		case 3:
			for _, w := range []*Workload{first, second} {
				w.configure(func(t *table.Table) { t.Access = m.Allow("shop") })
			}
		case 4:
			m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) {
				mesh.MTLS = []table.MTLSMode{table.Strict, table.Permissive}[n/5%2]
			})
		}
		udpDial(t, addr).insist("probe", func(answer string) bool { return strings.HasSuffix(answer, " probe") })
	}
	close(stop)
	asking.Wait()
	for i := range clients {
		question := fmt.Sprintf("%d/end", i)
		udpDial(t, addr).insist(question, func(answer string) bool { return strings.HasSuffix(answer, " "+question) })
	}
}

// ask sends a question and reads what comes, which may be the answer to an earlier one of the same client, or nothing.
func ask(t *testing.T, udp *udpClient, question string) {
	if _, err := udp.conn.Write([]byte(question)); err != nil {
		t.Error(err)
		return
	}
	udp.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	n, err := udp.conn.Read(udp.buf)
	if err != nil {
		return
	}
	name, answer, _ := strings.Cut(string(udp.buf[:n]), " ")
	mine, _, _ := strings.Cut(question, "/")
	if who, _, _ := strings.Cut(answer, "/"); who != mine || name != "dns-1" && name != "dns-2" {
		t.Errorf("client %s got %q", mine, udp.buf[:n])
	}
}
