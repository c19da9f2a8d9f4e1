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
		stop := after(lastWord, client.Interrupt)
		verdict := listen(port, client)
		stop()
		client.SetDeadline(time.Time{})
		return verdict
	}
	stop := make(chan func(), 1)
	go func() { stop <- hear(port, client, up) }()
	verdict := listen(port, client)
	up.Interrupt()
	(<-stop)()
	up.SetDeadline(time.Time{})
	client.SetDeadline(time.Time{})
	if verdict == More && len(up.Buffered()) > 0 {
		return port.Decide(TCP)
	}
	return verdict
}

// hear waits for the server's first word, which makes the port one of TCP. A server of HTTP/2 speaks at once too, but so does
// its client, who is to decide then; as it is when the server hangs up. The client must speak before long in either case,
// unless stop is called.
func hear(port *Port, client, up *wire.Conn) (stop func()) {
	if err := up.Fill(); err != nil || settings(up.Buffered()) {
		return after(lastWord, client.Interrupt)
	}
	if port.Decide(TCP) == TCP {
		client.Interrupt()
	}
	return func() {}
}

// settings says whether bytes begin with an HTTP/2 SETTINGS frame on stream 0: length, type 4, flags, stream.
func settings(first []byte) bool {
	return len(first) >= 9 && first[0] == 0 && first[3] == 4 && first[4] == 0 && string(first[5:9]) == "\x00\x00\x00\x00"
}

// after calls f once d has passed, unless stop is called first; when stop returns, f is not running and will not.
func after(d time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	timer := time.AfterFunc(d, func() {
		defer close(done)
		f()
	})
	return func() {
		if !timer.Stop() {
			<-done
		}
	}
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
