package conformance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// TestR8_H2Spec runs every case of h2spec, the strict ones too, against each listener that speaks HTTP/2: what a program's own
// calls meet, and what callers of a program meet, with mTLS and without.
func TestR8_H2Spec(t *testing.T) {
	modes(t, func(w *world) {
		port := w.serve(greet, false, true)
		app := w.app("app", "http2", port)
		client := w.client("app")
		inbound := app.Inbound
		if w.mtls {
			inbound = w.tunnel(app.Mesh, fmt.Sprintf("%d.app.default.weft", port), client)
		}
		w.Run("outbound", func(t *testing.T) { h2spec(t, client.upstream("app")) })
		w.Run("inbound", func(t *testing.T) { h2spec(t, inbound) })
	})
}

// greet reads what comes before it answers, as most programs do.
func greet(rw http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		fmt.Fprintln(rw, "hello")
	}
}

func h2spec(t *testing.T, address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Host: host, Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true}
	if c.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	const want = 146
	n := 0
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		n += h2specGroup(t, c, group)
	}
	if n != want {
		t.Errorf("%d cases, want %d", n, want)
	}
}

// h2specGroup runs a group's cases beside each other and returns how many there are.
func h2specGroup(t *testing.T, c *config.Config, group *spec.TestGroup) int {
	cases := append(group.Tests, group.StrictTests...)
	for i, tc := range cases {
		t.Run(fmt.Sprintf("%s/%d %s", group.ID(), i+1, tc.Desc), func(t *testing.T) {
			t.Parallel()
			conn, err := spec.Dial(c)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			verdict(t, tc.Requirement, tc.Run(c, conn))
		})
	}
	n := len(cases)
	for _, g := range group.Groups {
		n += h2specGroup(t, c, g)
	}
	return n
}

// verdict judges what a case has found.
func verdict(t *testing.T, requirement string, err error) {
	t.Helper()
	if failed, ok := errors.AsType[*spec.TestError](err); ok {
		t.Errorf("%s\nexpected: %s\nactual: %s", requirement, strings.Join(failed.Expected, "\n or "), failed.Actual)
	} else if err != nil {
		t.Errorf("%s\n%v", requirement, err)
	}
}

// tunnel is an address from which bytes reach a mesh port by mTLS, with the identity of a sidecar, under a server's name.
func (w *world) tunnel(address, name string, s *sidecar) string {
	w.Helper()
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.dir, "svid.pem"), filepath.Join(s.dir, "svid.key"))
	w.must(err)
	conf := &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"weft-h2/1"}, ServerName: name,
		InsecureSkipVerify: true, // whose certificate it is is not what is tested here
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	w.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := tls.Dial("tcp", address, conf)
				if err != nil {
					return
				}
				defer far.Close()
				go func() {
					defer far.CloseWrite()
					io.Copy(far, near)
				}()
				io.Copy(near, far)
			}()
		}
	}()
	return l.Addr().String()
}
