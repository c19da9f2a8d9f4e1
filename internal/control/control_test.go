package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/control"
)

// TestASocketIsHandedOver: the receiver accepts on it after the sender has closed its own, and a connection that waited in
// between is not lost. The directory's name is longer than the address of a Unix socket may be.
func TestASocketIsHandedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	defer l.Close()
	sender, err := control.Dial(t.Context(), dir)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	defer sender.Close()
	receiver, err := l.Accept()
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	defer receiver.Close()

	old, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.SendFile(control.Message{Kind: control.Socket, Name: "mesh"}, old.(*net.TCPListener)); err != nil {
		t.Fatalf("SendFile: %v", err)
	}
	old.Close()
	client, err := net.Dial("tcp", old.Addr().String())
	if err != nil {
		t.Fatalf("connect while nobody accepts: %v", err)
	}
	defer client.Close()
	m, f, err := receiver.Receive(t.Context())
	if err != nil || m.Name != "mesh" || f == nil {
		t.Fatalf("Receive: %+v, %v, %v", m, f, err)
	}
	defer f.Close()
	inherited, err := net.FileListener(f)
	if err != nil {
		t.Fatalf("FileListener: %v", err)
	}
	defer inherited.Close()
	server, err := inherited.Accept()
	if err != nil {
		t.Fatalf("Accept on what was handed over: %v", err)
	}
	server.Close()
}

func TestConversation(t *testing.T) {
	here, file, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := control.FromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	want := control.Message{Kind: control.Started, PID: 7, Error: strings.Repeat("x", 10_000)}
	if err := there.Send(want); err != nil {
		t.Fatal(err)
	}
	if got, f, err := here.Receive(t.Context()); err != nil || f != nil || got.PID != 7 || got.Error != want.Error {
		t.Errorf("Receive: %+v, %v, %v", got, f, err)
	}
	if err := there.Send(control.Message{Kind: control.Done}); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Expect(t.Context(), control.End); err == nil || !strings.Contains(err.Error(), `"done" came instead of "end"`) {
		t.Errorf("Expect of another kind: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := here.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive after the end of its context: %v", err)
	}
	if err := there.Send(control.Message{Kind: control.Done}); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Expect(t.Context(), control.Done); err != nil {
		t.Errorf("Receive after one that was cancelled: %v", err)
	}
	there.Close()
	if _, _, err := here.Receive(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Receive after the other end has closed: %v", err)
	}
}

func TestNobodyIsThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := control.Dial(t.Context(), dir); !errors.Is(err, control.ErrNobody) {
		t.Errorf("no socket: %v", err)
	}
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := control.Dial(t.Context(), dir); !errors.Is(err, control.ErrNobody) {
		t.Errorf("a socket that was left behind: %v", err)
	}
	again, err := control.Listen(dir)
	if err != nil {
		t.Fatalf("Listen where a socket was left behind: %v", err)
	}
	again.Close()
}
