package detect

import (
	"time"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// lastWord is how long a client may take to speak after the server has hung up without a word.
const lastWord = time.Second

// Race waits for whichever side speaks first and returns the verdict that holds for the port. What was read stays buffered on
// its connection, and both can be used as before; for TCP the caller goes on with both, for HTTP it closes up, which has not
// been written to. up may be nil when no endpoint could be reached: then only the client can speak. More means that the
// client has left without a word that tells.
func Race(port *Port, client, up *wire.Conn) Verdict {
	if up == nil {
		client.Arm(lastWord)
		return listen(port, client)
	}
	server := make(chan struct{})
	go func() {
		defer close(server)
		if err := up.Fill(); err != nil {
			client.Arm(lastWord)
			return
		}
		if port.Decide(TCP) == TCP {
			client.Interrupt()
		}
	}()
	verdict := listen(port, client)
	up.Interrupt()
	<-server
	client.SetDeadline(time.Time{})
	up.SetDeadline(time.Time{})
	if verdict == More && len(up.Buffered()) > 0 {
		return TCP
	}
	return verdict
}

// listen judges what the client says.
func listen(port *Port, client *wire.Conn) Verdict {
	for {
		if err := client.Fill(); err != nil {
			return More
		}
		v := Sniff(client.Buffered())
		if v == More {
			continue
		}
		if held := port.Decide(v); held == TCP {
			return TCP
		}
		// The port is one of HTTP: which version, this connection says itself.
		if v == HTTP2 {
			return HTTP2
		}
		return HTTP1
	}
}
