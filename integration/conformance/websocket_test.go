package conformance

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

const (
	text   = 1
	binary = 2
)

// TestR8_WebSocketLibraries: clients and servers of two libraries, which frame, compress and close in their own ways.
func TestR8_WebSocketLibraries(t *testing.T) {
	modes(t, func(w *world) {
		var names []string
		ends := map[string]chan error{} // how each server's last WebSocket ended
		for _, l := range libraries() {
			end := make(chan error, 1)
			w.app(l.name, "", w.serve(func(rw http.ResponseWriter, r *http.Request) { end <- converse(l, rw, r) }, true, false))
			ends[l.name], names = end, append(names, l.name)
		}
		client := w.client(names...)
		for _, from := range libraries() {
			for _, to := range names {
				w.Run(from.name+" to "+to, func(t *testing.T) {
					open := func() socket {
						s, err := from.dial(t.Context(), "ws://"+client.upstream(to)+"/chat")
						if err != nil {
							t.Fatal(err)
						}
						return s
					}
					messages(t, open(), ends[to])
					closings(t, open, ends[to])
				})
			}
		}
	})
}

// converse sends every message back, but does what "ping" and "close" ask for. It returns how the WebSocket ended.
func converse(l library, rw http.ResponseWriter, r *http.Request) error {
	s, err := l.accept(rw, r)
	if err != nil {
		return err
	}
	for {
		kind, message, err := s.receive()
		switch {
		case err != nil:
			return err
		case string(message) == "ping":
			go func() {
				if s.ping() == nil {
					s.send(text, []byte("pong"), 1) // the client waits for it
				}
			}()
		case string(message) == "close":
			return s.close(4321, "as you wish")
		case len(message) > 0 && kind == text:
			err = s.send(kind, message, 1)
		default:
			err = s.send(kind, message, 1+len(message)/10_000)
		}
		if err != nil {
			return err
		}
	}
}

// write writes a message in so many pieces, each of which is a frame for most libraries.
func write(w io.WriteCloser, message []byte, parts int) error {
	var err error
	for i := range parts {
		_, e := w.Write(message[len(message)*i/parts : len(message)*(i+1)/parts])
		err = errors.Join(err, e)
	}
	return errors.Join(err, w.Close())
}

// messages sends messages of all the lengths at which frames change their form, whole and in fragments, and pings both ways.
func messages(t *testing.T, s socket, end <-chan error) {
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, 2, 124, 125, 126, 127, 128, 4095, 4096, 65534, 65535, 65536, 65537, 1 << 20} {
		for _, parts := range []int{1, 2, 7} {
			noise := make([]byte, size)
			random.Read(noise)
			echoed(t, s, binary, noise, parts)
			echoed(t, s, text, bytes.Repeat([]byte("ü"), size/2), parts)
		}
	}
	got := make(chan string, 1)
	go func() {
		_, message, err := s.receive()
		got <- string(message)
		if err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(s.ping(), s.send(text, []byte("after the ping"), 1)); err != nil {
		t.Fatal(err)
	}
	if answer := <-got; answer != "after the ping" {
		t.Errorf("got %q", answer)
	}
	if err := s.send(text, []byte("ping"), 1); err != nil {
		t.Fatal(err)
	}
	if _, message, err := s.receive(); err != nil || string(message) != "pong" {
		t.Errorf("got %q, %v", message, err)
	}
	if err := s.close(1000, ""); err != nil {
		t.Error(err)
	}
	<-end
}

func echoed(t *testing.T, s socket, kind int, message []byte, parts int) {
	t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- s.send(kind, message, parts) }()
	gotKind, got, err := s.receive()
	if err != nil || gotKind != kind || !bytes.Equal(got, message) {
		t.Fatalf("sent kind %d, %d bytes in %d parts; got kind %d, %d bytes, %v", kind, len(message), parts, gotKind, len(got), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// closings ends WebSockets from either side; the other one has to hear by which code and why.
func closings(t *testing.T, open func() socket, end <-chan error) {
	for _, want := range []closed{
		{1000, ""}, {1001, "going away"}, {1002, ""}, {1003, ""}, {1007, ""}, {1008, "no"}, {1009, ""}, {1011, "oops"}, {3000, ""},
		{4999, strings.Repeat("y", 123)},
	} {
		if err := open().close(want.code, want.reason); err != nil {
			t.Errorf("close by %v: %v", want, err)
		}
		if got, _ := errors.AsType[closed](<-end); got != want {
			t.Errorf("the server heard %v, want %v", got, want)
		}
	}
	s := open()
	if err := s.send(text, []byte("close"), 1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.receive(); !errors.Is(err, closed{4321, "as you wish"}) {
		t.Errorf("the client heard %v", err)
	}
	if err := <-end; err != nil {
		t.Errorf("the server's part in closing: %v", err)
	}
}
