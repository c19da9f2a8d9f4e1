package conformance

import (
	"context"
	"errors"
	"net/http"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

// socket is one end of a WebSocket by one of the libraries. Kinds of messages and codes of closing are the protocol's numbers.
type socket interface {
	// send sends one message, in several frames if parts is more than 1.
	send(kind int, message []byte, parts int) error
	// receive waits for a message; at the end it returns a closed.
	receive() (kind int, message []byte, err error)
	// ping returns once the other end has answered; somebody has to be receiving meanwhile.
	ping() error
	// close begins the end, and waits for the other side's part in it.
	close(code int, reason string) error
}

// closed is how a WebSocket ended.
type closed struct {
	code   int
	reason string
}

// Error makes it an error.
func (c closed) Error() string { return c.reason }

// library makes both ends.
type library struct {
	name   string
	dial   func(ctx context.Context, url string) (socket, error)
	accept func(w http.ResponseWriter, r *http.Request) (socket, error)
}

func libraries() []library {
	return []library{
		{"gorilla", func(ctx context.Context, url string) (socket, error) {
			c, _, err := (&gorilla.Dialer{EnableCompression: true}).DialContext(ctx, url, nil)
			return newGorilla(c), err
		}, func(w http.ResponseWriter, r *http.Request) (socket, error) {
			c, err := (&gorilla.Upgrader{EnableCompression: true}).Upgrade(w, r, nil)
			return newGorilla(c), err
		}},
		{"coder", func(ctx context.Context, url string) (socket, error) {
			c, _, err := coder.Dial(ctx, url, &coder.DialOptions{CompressionMode: coder.CompressionContextTakeover})
			return newCoder(c), err
		}, func(w http.ResponseWriter, r *http.Request) (socket, error) {
			c, err := coder.Accept(w, r, &coder.AcceptOptions{CompressionMode: coder.CompressionContextTakeover})
			return newCoder(c), err
		}},
	}
}

type gorillaSocket struct {
	*gorilla.Conn
	pongs chan struct{}
}

func newGorilla(c *gorilla.Conn) socket {
	if c == nil {
		return nil
	}
	s := gorillaSocket{c, make(chan struct{}, 1)}
	c.SetPongHandler(func(string) error { s.pongs <- struct{}{}; return nil })
	return s
}

func (s gorillaSocket) send(kind int, message []byte, parts int) error {
	w, err := s.NextWriter(kind)
	if err != nil {
		return err
	}
	return write(w, message, parts)
}

func (s gorillaSocket) receive() (int, []byte, error) {
	kind, message, err := s.ReadMessage()
	if ce, ok := errors.AsType[*gorilla.CloseError](err); ok {
		err = closed{ce.Code, ce.Text}
	}
	return kind, message, err
}

func (s gorillaSocket) ping() error {
	if err := s.WriteControl(gorilla.PingMessage, []byte("are you there"), time.Time{}); err != nil {
		return err
	}
	<-s.pongs
	return nil
}

func (s gorillaSocket) close(code int, reason string) error {
	defer s.Conn.Close()
	if err := s.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, reason), time.Time{}); err != nil {
		return err
	}
	_, _, err := s.receive()
	if c, ok := errors.AsType[closed](err); ok && c.code == code {
		return nil
	}
	return err
}

type coderSocket struct{ *coder.Conn }

func newCoder(c *coder.Conn) socket {
	if c == nil {
		return nil
	}
	c.SetReadLimit(-1)
	return coderSocket{c}
}

func (s coderSocket) send(kind int, message []byte, parts int) error {
	w, err := s.Writer(context.Background(), coder.MessageType(kind))
	if err != nil {
		return err
	}
	return write(w, message, parts)
}

func (s coderSocket) receive() (int, []byte, error) {
	kind, message, err := s.Read(context.Background())
	if ce, ok := errors.AsType[coder.CloseError](err); ok {
		err = closed{int(ce.Code), ce.Reason}
	}
	return int(kind), message, err
}

func (s coderSocket) ping() error { return s.Ping(context.Background()) }

func (s coderSocket) close(code int, reason string) error {
	return s.Close(coder.StatusCode(code), reason)
}
