package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// BenchmarkRequest measures a keep-alive request of one connection: straight to the program, through a sidecar without mTLS,
// and through a pair. Client and program are part of each.
func BenchmarkRequest(b *testing.B) { request(b, 1<<10) }

// BenchmarkLargeResponse is the same with 64 KB.
func BenchmarkLargeResponse(b *testing.B) { request(b, 64<<10) }

func request(b *testing.B, size int) {
	app := quick(b, size)
	m := New(b)
	m.Service("plain", table.HTTP)
	m.Add(Plain("plain", "plain-1", app))
	m.Service("mesh", table.HTTP)
	m.Workload("mesh", "mesh-1", app, m.Allow("shop")).Records.Forget()
	c := m.Client("shop")
	c.Records.Forget()
	for name, addr := range map[string]string{"direct": app.String(), "hop": c.Upstream("plain"), "pair": c.Upstream("mesh")} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			r := bufio.NewReaderSize(conn, 64<<10)
			before := cpu(b)
			b.ReportAllocs()
			for b.Loop() {
				io.WriteString(conn, "GET /products/1 HTTP/1.1\r\nHost: web\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
				for line, err := r.ReadSlice('\n'); len(line) > 2; line, err = r.ReadSlice('\n') {
					if err != nil {
						b.Fatal(err)
					}
				}
				if _, err := r.Discard(size); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/1000/float64(b.N), "cpu-µs/op")
		})
	}
}

// quick is a program that costs next to nothing: it answers so many bytes to whatever ends with an empty line.
func quick(b *testing.B, size int) net.Addr {
	ln := Listen(b)
	b.Cleanup(func() { ln.Close() })
	answer := append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", size), make([]byte, size)...)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						conn.Write(answer)
					}
				}
			}()
		}
	}()
	return ln.Addr()
}

// cpu is the processor time of this process in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkUDPThroughAPair is one datagram there and one back, through both sidecars.
func BenchmarkUDPThroughAPair(b *testing.B) {
	m := New(b)
	m.Service("dns", table.UDP)
	m.Workload("dns", "dns-1", udpProgram(b, func(question []byte, _ netip.AddrPort) []byte { return question }), m.Allow("shop"))
	c := udpDial(b, m.Client("shop").packets("dns"))
	question, answer := make([]byte, 1200), make([]byte, 1500)
	c.ask("a session")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.conn.Write(question); err != nil {
			b.Fatal(err)
		}
		if _, err := c.conn.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}
