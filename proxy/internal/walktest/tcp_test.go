package walktest

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// program starts a TCP program that serves each connection with serve, which must return once the connection ends.
func program(t *testing.T, serve func(net.Conn)) net.Addr {
	t.Helper()
	ln := Listen(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// shout answers only after the client's half-close, so that one that is lost would hang.
func shout(c net.Conn) {
	said, _ := io.ReadAll(c)
	c.Write(append([]byte("you said "), said...))
}

// greet speaks first.
func greet(c net.Conn) {
	c.Write([]byte("220 ready\r\n"))
	line, _ := bufio.NewReader(c).ReadString('\n')
	c.Write([]byte("250 " + line))
}

func TestTCP(t *testing.T) {
	for _, meshed := range []bool{false, true} {
		for _, protocol := range []table.Protocol{table.TCP, table.Detect} {
			m := New(t)
			m.Service("db", protocol)
			half, first := program(t, shout), program(t, greet)
			m.Service("mail", protocol)
			if meshed {
				m.Workload("db", "db-1", half, m.Allow("shop"))
				m.Workload("mail", "mail-1", first, m.Allow("shop"))
			} else {
				m.Add(Plain("db", "db-1", half))
				m.Add(Plain("mail", "mail-1", first))
			}
			c := m.Client("shop")
			db, mail := dial(t, c.Upstream("db")), dial(t, c.Upstream("mail"))

			io.WriteString(db, "hello")
			db.CloseWrite()
			if got, err := io.ReadAll(db); err != nil || string(got) != "you said hello" {
				t.Errorf("meshed %v protocol %v: half-close: got %q, %v", meshed, protocol, got, err)
			}
			r := bufio.NewReader(mail)
			if got, err := r.ReadString('\n'); err != nil || got != "220 ready\r\n" {
				t.Errorf("meshed %v protocol %v: server first: got %q, %v", meshed, protocol, got, err)
			}
			io.WriteString(mail, "QUIT\n")
			if got, err := io.ReadAll(r); err != nil || string(got) != "250 QUIT\n" {
				t.Errorf("meshed %v protocol %v: server first: got %q, %v", meshed, protocol, got, err)
			}
			mail.Close()
			for _, rec := range c.Records.Wait(2) {
				if rec.Protocol != flow.TCP || rec.Reason != flow.None || rec.MTLS != meshed || rec.BytesReceived == 0 {
					t.Errorf("meshed %v protocol %v: record %+v", meshed, protocol, rec)
				}
			}
		}
	}
}

func TestUndeclaredPortServesHTTP(t *testing.T) {
	m := New(t)
	m.Service("web", table.Detect)
	m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	addr := c.Upstream("web")
	for range 2 { // the second time it is known
		resp, body := get(t, client(t), "http://"+addr+"/x")
		if resp.StatusCode != 200 || body != "GET /x " {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
	for _, rec := range c.Records.Wait(2) {
		if rec.Protocol != flow.HTTP1 || rec.Status != 200 {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestTCPIsDeniedByAccess(t *testing.T) {
	m := New(t)
	m.Service("db", table.TCP)
	w := m.Workload("db", "db-1", program(t, greet), m.Allow("somebody-else"))
	c := m.Client("shop")
	db := dial(t, c.Upstream("db"))
	if got, _ := io.ReadAll(db); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	if rec := w.Records.Wait(1)[0]; rec.Reason != flow.Denied {
		t.Errorf("record %+v", rec)
	}
}
