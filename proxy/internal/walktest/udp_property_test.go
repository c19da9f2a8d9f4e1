package walktest

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// mirror answers a datagram by its own content, turned around: nobody else's answer looks like it.
func mirror(b []byte, _ netip.AddrPort) []byte {
	out := make([]byte, len(b)) // not nil: an empty datagram has an answer, too
	for i := range b {
		out[len(b)-1-i] = ^b[i]
	}
	return out
}

// TestUDPNothingIsCrossedOrChanged: many clients at once, random lengths from nothing to the longest, two services, meshed
// and not. Every answer arrives at the client that asked, whole.
func TestUDPNothingIsCrossedOrChanged(t *testing.T) {
	m := New(t)
	services := []string{"one", "two"}
	for _, name := range services {
		m.Service(name, table.UDP)
		m.Workload(name, name+"-1", udpProgram(t, mirror), m.Allow("shop"))
		bare := Plain(name, name+"-2", udpProgram(t, mirror))
		bare.UDP = true
		m.Add(bare)
	}
	c := m.Client("shop")
	addrs := []netip.AddrPort{c.packets("one"), c.packets("two")}
	var clients []*udpClient
	for i := range 16 {
		clients = append(clients, udpDial(t, addrs[i%2]))
	}
	rapid.Check(t, func(t *rapid.T) {
		asked := map[int][]byte{}
		room := datagram.MaxPayload // what the sockets' buffers surely hold: the kernel drops what they do not
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, len(clients)-1).Draw(t, "client")
			if question, ok := asked[i]; ok {
				check(t, i, clients[i].receive(), question)
				room += len(question)
				delete(asked, i)
				continue
			}
			length := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, datagram.MaxPayload), rapid.SampledFrom([]int{0, 1, datagram.MaxPayload})).Draw(t, "length")
			length = min(length, room)
			room -= length
			question := bytes.Repeat([]byte(fmt.Sprintf("%d/%d ", i, step)), length/4+1)[:length]
			clients[i].send(string(question))
			asked[i] = question
		}
		for i, question := range asked {
			check(t, i, clients[i].receive(), question)
		}
	})
	if n := c.Outbound.Datagrams().Len(); n != len(clients) {
		t.Errorf("%d sessions of %d clients", n, len(clients))
	}
}

func check(t *rapid.T, client int, got string, question []byte) {
	if want := string(mirror(question, netip.AddrPort{})); got != want {
		t.Fatalf("client %d got %d bytes that are not the answer to its %d", client, len(got), len(question))
	}
}
