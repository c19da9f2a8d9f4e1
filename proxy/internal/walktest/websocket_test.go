package walktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// chat sends every message back, and closes with the code and text that "close" asks for.
func chat(w http.ResponseWriter, r *http.Request) {
	u := websocket.Upgrader{Subprotocols: []string{"chat.v2"}, EnableCompression: true}
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if string(message) == "close" {
			c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "as you wish"), time.Time{})
			c.ReadMessage() // the client's answer
			return
		}
		if c.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func openChat(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v2"}, EnableCompression: true}
	c, resp, err := d.Dial("ws://"+addr+"/chat?room=1", http.Header{"Origin": {"http://" + addr}})
	if err != nil {
		t.Fatalf("open: %v %v", err, resp)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoed sends a message in the given number of fragments and wants it back.
func echoed(t *testing.T, c *websocket.Conn, kind int, message []byte, fragments int) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		w, err := c.NextWriter(kind)
		for i := range fragments {
			if err == nil {
				_, err = w.Write(message[len(message)*i/fragments : len(message)*(i+1)/fragments])
			}
		}
		sent <- errors.Join(err, w.Close())
	}()
	gotKind, got, err := c.ReadMessage()
	if err != nil || gotKind != kind || !bytes.Equal(got, message) {
		t.Fatalf("sent kind %d, %d bytes; got kind %d, %d bytes, %v", kind, len(message), gotKind, len(got), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func TestR8_WebSocket(t *testing.T) {
	walks(t, table.HTTP, handler(chat), func(t *testing.T, w *walk) {
		c := openChat(t, w.addr)
		if c.Subprotocol() != "chat.v2" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		rnd := rand.NewChaCha8([32]byte{1})
		total := int64(0)
		for _, size := range []int{0, 1, 125, 126, 127, 4 << 10, 65535, 65536, 1 << 20, 8 << 20} {
			message := make([]byte, size)
			rnd.Read(message)
			echoed(t, c, websocket.BinaryMessage, message, 1+size/100_000)
			total += int64(size)
		}
		echoed(t, c, websocket.TextMessage, []byte("grüße"), 3)

		pong := ""
		c.SetPongHandler(func(data string) error { pong = data; return nil })
		if err := c.WriteControl(websocket.PingMessage, []byte("are you there"), time.Time{}); err != nil {
			t.Fatal(err)
		}
		echoed(t, c, websocket.TextMessage, []byte("after the ping"), 1)
		if pong != "are you there" {
			t.Errorf("pong %q", pong)
		}
		if err := c.WriteMessage(websocket.TextMessage, []byte("close")); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.ReadMessage()
		if ce, ok := errors.AsType[*websocket.CloseError](err); !ok || ce.Code != 4321 || ce.Text != "as you wish" {
			t.Errorf("closed by %v", err)
		}
		c.Close()
		rec := w.records.Wait(1)[0]
		if rec.Status != 101 || rec.Reason != flow.None || rec.BytesSent < total || rec.BytesReceived < total || rec.MTLS != w.mtls {
			t.Errorf("record %+v", rec)
		}
		if w.mtls {
			if in := w.to.Records.Wait(1)[0]; in.Status != 101 || in.Reason != flow.None || in.BytesSent != rec.BytesSent || in.BytesReceived != rec.BytesReceived {
				t.Errorf("record %+v", in)
			}
		}
	})
}

func TestR8_UpgradedConnectionsAreNeverUsedAgain(t *testing.T) {
	walks(t, table.HTTP, handler(chat), func(t *testing.T, w *walk) {
		get(t, client(t), "http://"+w.addr+"/") // refused by the upgrader; leaves an idle connection
		before := uint64(0)
		if w.dialled != nil {
			before = w.dialled()
		}
		for range 3 {
			c := openChat(t, w.addr)
			echoed(t, c, websocket.TextMessage, []byte("hello"), 1)
			c.Close()
		}
		w.records.Wait(4)
		if w.dialled != nil && w.dialled()-before != 3 {
			t.Errorf("%d connections for 3 WebSockets", w.dialled()-before)
		}
		if resp, _ := get(t, client(t), "http://"+w.addr+"/"); resp.StatusCode != 400 {
			t.Errorf("an ordinary request got %d", resp.StatusCode)
		}
	})
}

// TestR8_ServerMayDeclineAnUpgrade: the answer to a request that asked for a switch is an ordinary response then, and the
// client's connection goes on.
func TestR8_ServerMayDeclineAnUpgrade(t *testing.T) {
	walks(t, table.HTTP, handler(echo), func(t *testing.T, w *walk) {
		cl := client(t)
		for range 2 {
			req, _ := http.NewRequest("GET", "http://"+w.addr+"/x", nil)
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", "websocket")
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || string(body) != "GET /x " {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		}
	})
}

func TestR8_WebSocketNeedsAccess(t *testing.T) {
	app := server(t, chat)
	m := New(t)
	m.Service("web", table.HTTP)
	access := m.Allow("shop")
	access.Rules[0].Matches = []match.HTTP{{Path: match.Exact("/chat")}}
	to := m.Workload("web", "web-1", app, access)
	from := m.Client("shop")
	addr := from.Upstream("web")
	if _, resp, err := (&websocket.Dialer{}).Dial("ws://"+addr+"/other", nil); err == nil || resp == nil || resp.StatusCode != 403 ||
		!strings.Contains(resp.Header.Get("weft-error"), "hop=inbound, reason=denied,") {
		t.Errorf("got %v, %v", resp, err)
	}
	c := openChat(t, addr)
	echoed(t, c, websocket.TextMessage, []byte("hello"), 1)
	// What is open ends when it is no longer allowed.
	to.configure(func(t *table.Table) { t.Access = m.Allow("somebody-else") })
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("the WebSocket lives on")
	}
	if rec := to.Records.Wait(2)[1]; rec.Status != 101 || rec.Reason != flow.Denied {
		t.Errorf("record %+v", rec)
	}
}

func TestR8_WebSocketOutlivesTheTimeoutOfItsRequest(t *testing.T) {
	walks(t, table.HTTP, handler(chat), func(t *testing.T, w *walk) {
		const limit = 300 * time.Millisecond
		w.mesh.Change(func(_ *table.Mesh, services map[string]*table.Service) {
			services["default/web"].Rules[0].Timeout = limit
		})
		c := openChat(t, w.addr)
		until := time.NewTimer(2 * limit) // that it is over is what is shown
		defer until.Stop()
		for n, over := 0, false; !over || n < 2; n++ {
			echoed(t, c, websocket.TextMessage, []byte("still here"), 1)
			select {
			case <-until.C:
				over = true
			default:
			}
		}
	})
}

func TestR8_DrainWaitsForWebSockets(t *testing.T) {
	walks(t, table.HTTP, handler(chat), func(t *testing.T, w *walk) {
		c := openChat(t, w.addr)
		drained := make(chan error, 1)
		go func() { drained <- w.drain(t.Context()) }()
		for range 20 {
			echoed(t, c, websocket.TextMessage, []byte("still here"), 1)
		}
		c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("got %v", err)
		}
		c.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if rec := w.records.Wait(1)[0]; rec.Reason != flow.None {
			t.Errorf("record %+v", rec)
		}
	})
}

func TestR8_DrainCutsWebSocketsAtItsEnd(t *testing.T) {
	walks(t, table.HTTP, handler(chat), func(t *testing.T, w *walk) {
		c := openChat(t, w.addr)
		echoed(t, c, websocket.TextMessage, []byte("hello"), 1)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.drain(over); err == nil || !strings.Contains(err.Error(), "1 requests, streams and sessions cut") {
			t.Errorf("got %v", err)
		}
		if _, _, err := c.ReadMessage(); err == nil {
			t.Error("the WebSocket lives on")
		}
		if rec := w.records.Wait(1)[0]; rec.Reason != flow.Draining {
			t.Errorf("record %+v", rec)
		}
	})
}
