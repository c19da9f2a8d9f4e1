package inbound_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/inbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/walktest"
)

func TestNotReadyIsReadable(t *testing.T) {
	records := &walktest.Records{}
	s := inbound.New(inbound.Config{Tables: &table.Holder{}, Identity: spiffe.NewSource(nil), Emit: records.Emit, Hold: time.Millisecond})
	plain, mesh := walktest.Listen(t), walktest.Listen(t)
	walktest.Run(t, s.Run)
	walktest.Run(t, func(ctx context.Context) error { return s.ServePlaintext(ctx, plain, 1) })
	walktest.Run(t, func(ctx context.Context) error { return s.ServeMesh(ctx, mesh) })
	resp, err := http.Get("http://" + plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 503 || !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=inbound, reason=not_ready, id=") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	conn, err := net.Dial("tcp", mesh.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, _ := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("mesh port: got %q", got)
	}
	for _, rec := range records.Wait(2) {
		if rec.Reason != flow.NotReady || rec.Direction != flow.Inbound {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestDeadProgramIsReadable(t *testing.T) {
	m := walktest.New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", walktest.Refusing(t), m.Allow("shop"))
	c := m.Client("shop")
	resp, err := http.Get("http://" + c.Upstream("web"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 503 || !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=inbound, reason=connect, id=") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if rec := w.Records.Wait(1)[0]; rec.Reason != flow.Connect {
		t.Errorf("record %+v", rec)
	}
}

func TestDrainedServerAcceptsNothing(t *testing.T) {
	m := walktest.New(t)
	m.Service("web", table.HTTP)
	app := httptest.NewServer(nil)
	t.Cleanup(app.Close)
	w := m.Workload("web", "web-1", app.Listener.Addr(), m.Allow("shop"))
	if err := w.Inbound.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", w.Mesh); err == nil {
		conn.Close()
		t.Error("the mesh port still accepts")
	}
}
