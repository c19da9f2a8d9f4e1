package outbound

import (
	"time"

	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/egress"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// ask waits until the client has named the host that it wants, or will not. What was read stays buffered.
func ask(client *wire.Conn, within time.Duration) string {
	client.SetDeadline(time.Now().Add(within))
	defer client.SetDeadline(time.Time{})
	return hostOf(client)
}

// overhear is ask while the server may speak first; then the client names no host that anybody waits for.
func overhear(client, up *wire.Conn) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = up.Fill() // an end or error is met again by who relays
		client.Interrupt()
	}()
	name := hostOf(client)
	up.Interrupt()
	<-done
	client.SetDeadline(time.Time{})
	up.SetDeadline(time.Time{})
	return name
}

func hostOf(client *wire.Conn) string {
	var req h1.Request
	for {
		if first := client.Buffered(); len(first) > 0 {
			if name, done := named(&req, first); done {
				return name
			}
		}
		if client.Fill() != nil {
			return ""
		}
	}
}

// named reads the host out of the first bytes of a TLS or HTTP/1 client. done is false while more of them are needed.
func named(req *h1.Request, first []byte) (name string, done bool) {
	switch detect.Sniff(first) {
	case detect.More:
		return "", false
	case detect.HTTP1:
		end, _, err := h1.HeadEnd(first, 0)
		if end == 0 && err == nil {
			return "", false
		}
		if err != nil || req.Parse(first[:end]) != nil {
			return "", true
		}
		return string(req.Authority()), true
	case detect.TCP:
		return egress.ServerName(first)
	default:
		return "", true
	}
}
