package walktest

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// noise is a stream of bytes that a seed repeats.
func noise(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func digest(t *testing.T, r io.Reader) (sum [32]byte, n int64) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Error(err)
	}
	return [32]byte(h.Sum(nil)), n
}

// TestTCPBulk: streams that are far larger than any buffer go both ways at once, arrive whole, and are counted, whether the sidecar
// seals them or the kernel moves them.
func TestTCPBulk(t *testing.T) {
	const size = 24 << 20
	type side struct {
		sum [32]byte
		n   int64
	}
	for _, meshed := range []bool{false, true} {
		took := make(chan side, 1)
		app := program(t, func(c net.Conn) {
			said := make(chan struct{})
			go func() {
				defer close(said)
				io.Copy(c, io.LimitReader(noise(1), size))
				c.(*net.TCPConn).CloseWrite()
			}()
			sum, n := digest(t, c)
			<-said
			took <- side{sum, n}
		})
		m := New(t)
		m.Service("db", table.TCP)
		if meshed {
			m.Workload("db", "db-1", app, m.Allow("shop"))
		} else {
			m.Add(Plain("db", "db-1", app))
		}
		c := m.Client("shop")
		conn := dial(t, c.Upstream("db"))
		go func() {
			io.Copy(conn, io.LimitReader(noise(2), size))
			conn.CloseWrite()
		}()
		down, n := digest(t, conn)
		up := <-took
		wantDown, _ := digest(t, io.LimitReader(noise(1), size))
		wantUp, _ := digest(t, io.LimitReader(noise(2), size))
		if n != size || up.n != size || down != wantDown || up.sum != wantUp {
			t.Errorf("meshed %v: %d bytes there and %d back, unchanged: %v and %v", meshed, up.n, n, up.sum == wantUp, down == wantDown)
		}
		rec := c.Records.Wait(1)[0]
		if rec.BytesSent != size || rec.BytesReceived != size || rec.Reason != flow.None {
			t.Errorf("meshed %v: record %+v", meshed, rec)
		}
	}
}

// BenchmarkBulk is a stream of bytes from the program; client and program are in it.
func BenchmarkBulk(b *testing.B) {
	ln := Listen(b)
	b.Cleanup(func() { ln.Close() })
	go func() {
		block := make([]byte, 256<<10)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					if _, err := c.Write(block); err != nil {
						return
					}
				}
			}()
		}
	}()
	m := New(b)
	m.Service("plain", table.TCP)
	m.Add(Plain("plain", "plain-1", ln.Addr()))
	m.Service("mesh", table.TCP)
	m.Workload("mesh", "mesh-1", ln.Addr(), m.Allow("shop"))
	c := m.Client("shop")
	for name, addr := range map[string]string{"direct": ln.Addr().String(), "hop": c.Upstream("plain"), "pair": c.Upstream("mesh")} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			block := make([]byte, 1<<20)
			before := cpu(b)
			for b.Loop() {
				if _, err := io.ReadFull(conn, block); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/1000/float64(b.N), "cpu-µs/op")
		})
	}
}
