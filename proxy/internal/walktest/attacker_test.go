package walktest

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// attacker is a client of HTTP/2 that keeps to no rule. It reads all the while, and keeps the end of the connection.
type attacker struct {
	t     *testing.T
	nc    net.Conn
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer

	ended chan struct{} // closed at the end; then the fields below may be read
	code  http2.ErrCode
	debug string
	reset chan http2.ErrCode // of streams
}

// attackBy is an attacker whose windows for responses are of a size.
func attackBy(t *testing.T, addr string, window uint32) *attacker {
	t.Helper()
	nc := dial(t, addr)
	a := &attacker{t: t, nc: nc, fr: http2.NewFramer(nc, nc), ended: make(chan struct{}), reset: make(chan http2.ErrCode, 10_000)}
	a.fr.AllowIllegalWrites = true
	a.enc = hpack.NewEncoder(&a.block)
	io.WriteString(nc, http2.ClientPreface)
	if err := a.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}); err != nil {
		t.Fatal(err)
	}
	go a.read()
	t.Cleanup(func() { nc.Close(); <-a.ended })
	return a
}

func (a *attacker) read() {
	defer close(a.ended)
	defer a.nc.Close()
	fr := http2.NewFramer(nil, a.nc)
	for {
		switch f, err := fr.ReadFrame(); f := f.(type) {
		case *http2.GoAwayFrame:
			a.code, a.debug = f.ErrCode, string(f.DebugData())
		case *http2.RSTStreamFrame:
			a.reset <- f.ErrCode
		default:
			if err != nil {
				return
			}
		}
	}
}

// fields is an encoded request with more fields; valid until the next.
func (a *attacker) fields(method string, more ...string) []byte {
	a.block.Reset()
	for i, all := 0, append([]string{":method", method, ":scheme", "http", ":path", "/", ":authority", "web"}, more...); i < len(all); i += 2 {
		a.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return a.block.Bytes()
}

// open begins a request.
func (a *attacker) open(id uint32, method string, end bool, more ...string) error {
	return a.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.fields(method, more...), EndStream: end, EndHeaders: true})
}

// flood repeats until the connection takes no more, or often.
func (a *attacker) flood(often int, each func(id uint32) error) {
	for i := range often {
		if each(uint32(2*i+1)) != nil {
			return
		}
	}
}

// cutOff waits for the end, which must say that the limit was exceeded.
func (a *attacker) cutOff(name limit.Name) {
	a.t.Helper()
	<-a.ended
	if want := "over the limit " + name.String(); a.code != http2.ErrCodeEnhanceYourCalm || !bytes.HasPrefix([]byte(a.debug), []byte(want)) {
		a.t.Errorf("ended by %v %q, want %q", a.code, a.debug, want)
	}
}
