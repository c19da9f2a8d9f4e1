package walktest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// often is more than any limit of these tests.
const often = 20_000

// cut is an attack over HTTP/2 by floods, each of which must end in a connection that is cut off.
func cut(t *testing.T, limits limit.Limits, over limit.Name, floods map[string]func(*attacker)) {
	for name, flood := range floods {
		t.Run(name, func(t *testing.T) {
			sieges(t, limits, table.HTTP2, handler2(echoOrHold), func(s *siege) {
				a := attackBy(s.t, s.addr, 65535)
				flood(a)
				a.cutOff(over)
				s.counted(over)
				s.holdsAtMost(8 * mebibyte)
			})
		})
	}
}

// echoOrHold is a program that never answers who asks for that.
func echoOrHold(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Hold") != "" {
		<-r.Context().Done()
		return
	}
	echo(w, r)
}

// TestAttackRapidReset: requests that are taken back at once (CVE-2023-44487), and streams that the server is made to reset.
func TestAttackRapidReset(t *testing.T) {
	made := func(flaw func(a *attacker, id uint32) error) func(*attacker) {
		return func(a *attacker) {
			a.flood(often, func(id uint32) error {
				if err := a.open(id, "POST", false, "content-length", "3", "x-hold", "yes"); err != nil {
					return err
				}
				return flaw(a, id)
			})
		}
	}
	cut(t, limit.Limits{Resets: 10}, limit.Resets, map[string]func(*attacker){
		"rapid reset":                     made(func(a *attacker, id uint32) error { return a.fr.WriteRSTStream(id, http2.ErrCodeCancel) }),
		"MadeYouReset/window of nothing":  made(func(a *attacker, id uint32) error { return a.fr.WriteWindowUpdate(id, 0) }),
		"MadeYouReset/window of too much": made(func(a *attacker, id uint32) error { return a.fr.WriteWindowUpdate(id, 1<<31-1) }),
		"MadeYouReset/data after the end": made(func(a *attacker, id uint32) error {
			a.fr.WriteData(id, true, []byte("abc"))
			return a.fr.WriteData(id, true, []byte("abc"))
		}),
		"MadeYouReset/headers after the end": made(func(a *attacker, id uint32) error {
			a.fr.WriteData(id, true, []byte("abc"))
			return a.open(id, "POST", true)
		}),
		"MadeYouReset/too long": made(func(a *attacker, id uint32) error { return a.fr.WriteData(id, true, []byte("abcd")) }),
	})
}

// TestAttackRapidResetOverAndOver comes back with a new connection each time that one is cut off. Both sidecars share one connection
// for many clients, on which the resets must not be too many either.
func TestAttackRapidResetOverAndOver(t *testing.T) {
	sieges(t, limit.Limits{Resets: 5}, table.HTTP2, handler2(echo), func(s *siege) {
		for range 30 {
			a := attackBy(s.t, s.addr, 65535)
			a.flood(often, func(id uint32) error {
				if err := a.open(id, "POST", false); err != nil {
					return err
				}
				return a.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			})
			a.cutOff(limit.Resets)
		}
		s.counted(limit.Resets)
		s.holdsAtMost(16 * mebibyte)
	})
}

// TestAttackContinuations: header blocks that do not end (CVE-2023-45288).
func TestAttackContinuations(t *testing.T) {
	endless := func(piece string) func(*attacker) {
		return func(a *attacker) {
			a.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.fields("GET"), EndStream: true})
			a.flood(often, func(uint32) error { return a.fr.WriteContinuation(1, false, []byte(piece)) })
		}
	}
	// A literal field that is not to be indexed, over and over.
	field := "\x00\x01x\x7f\x81\x00" + strings.Repeat("y", 256)
	cut(t, limit.Limits{}, limit.Continuations, map[string]func(*attacker){"empty": endless(""), "small": endless(field)})
	cut(t, limit.Limits{}, limit.HeadBytes, map[string]func(*attacker){"large": endless(strings.Repeat(field, 60))})
	cut(t, limit.Limits{HeadTime: time.Second}, limit.HeadTime, map[string]func(*attacker){"a pause": func(a *attacker) {
		a.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.fields("GET"), EndStream: true})
	}})
}

// TestAttackHPACKBomb: one large field in the compression table, which one byte repeats.
func TestAttackHPACKBomb(t *testing.T) {
	cut(t, limit.Limits{}, limit.HeadBytes, map[string]func(*attacker){"bomb": func(a *attacker) {
		a.open(1, "GET", true, "x", strings.Repeat("y", 3900))
		newest := byte(0x80 | 62)
		for i := range uint32(200) {
			bomb := append(append([]byte(nil), a.fields("GET")...), []byte(strings.Repeat(string([]byte{newest}), 16_000))...)
			if a.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3 + 2*i, BlockFragment: bomb, EndStream: true, EndHeaders: true}) != nil {
				return
			}
		}
	}})
}

// TestAttackControlFrames: frames that cost the server something and bring nothing.
func TestAttackControlFrames(t *testing.T) {
	each := func(frame func(a *attacker, n uint32) error) func(*attacker) {
		return func(a *attacker) {
			a.open(1, "POST", false)
			a.flood(often, func(id uint32) error { return frame(a, id) })
		}
	}
	cut(t, limit.Limits{ControlFrames: 2000}, limit.ControlFrames, map[string]func(*attacker){
		"SETTINGS": each(func(a *attacker, n uint32) error {
			return a.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: n})
		}),
		"PING":          each(func(a *attacker, _ uint32) error { return a.fr.WritePing(false, [8]byte{1}) }),
		"WINDOW_UPDATE": each(func(a *attacker, _ uint32) error { return a.fr.WriteWindowUpdate(0, 1) }),
		"PRIORITY": each(func(a *attacker, n uint32) error {
			return a.fr.WritePriority(n+100, http2.PriorityParam{Weight: 1})
		}),
		"unknown frames": each(func(a *attacker, _ uint32) error { return a.fr.WriteRawFrame(0xfa, 0, 0, nil) }),
	})
	cut(t, limit.Limits{}, limit.EmptyFrames, map[string]func(*attacker){
		"empty DATA":  each(func(a *attacker, _ uint32) error { return a.fr.WriteData(1, false, nil) }),
		"padded DATA": each(func(a *attacker, _ uint32) error { return a.fr.WriteDataPadded(1, false, nil, make([]byte, 10)) }),
	})
}

// large answers a bystander at once and everybody else with a megabyte.
func large(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/bystander" {
		io.WriteString(w, "ok")
		return
	}
	piece := make([]byte, 16<<10)
	for range 64 {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}

// TestAttackZeroWindows: a client asks for much and takes nothing of it. Its streams are reset when they have not moved for too
// long, and at once when there is no room; what they share with others goes on.
func TestAttackZeroWindows(t *testing.T) {
	const streams = 150 // more than go over one connection to the endpoint
	for _, tt := range []struct {
		name   string
		limits limit.Limits
		over   limit.Name
		reason flow.Reason
	}{
		{"for too long", limit.Limits{WriteStall: 2 * time.Second}, limit.WriteStall, flow.TooSlow},
		{"without room", limit.Limits{BufferBytes: 2 << 20}, limit.BufferBytes, flow.Overload},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sieges(t, tt.limits, table.HTTP2, handler2(large), func(s *siege) {
				a := attackBy(s.t, s.addr, 0)
				for i := range uint32(streams) {
					a.open(2*i+1, "GET", true)
				}
				most := streams
				if tt.over == limit.BufferBytes {
					most = 1 // the others may stay, with what there is room for
				}
				for range most {
					select {
					case code := <-a.reset:
						if code != http2.ErrCodeEnhanceYourCalm {
							s.t.Fatalf("a reset by %v", code)
						}
					case <-a.ended:
						s.t.Fatalf("the connection ended by %v %q", a.code, a.debug)
					}
				}
				s.counted(tt.over)
				s.recorded(tt.reason, tt.over)
				s.holdsAtMost(64 * mebibyte)
				a.nc.Close()
				<-a.ended
			})
		})
	}
}

// TestAttackManyStreams: streams beyond the limit are refused one by one, those within it go on.
func TestAttackManyStreams(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bystander" {
			<-r.Context().Done()
		}
	}
	sieges(t, limit.Limits{Streams: 10}, table.HTTP2, handler2(hang), func(s *siege) {
		a := attackBy(s.t, s.addr, 65535)
		for i := range uint32(30) {
			a.open(2*i+1, "GET", true)
		}
		for range 20 {
			if code := <-a.reset; code != http2.ErrCodeRefusedStream {
				s.t.Errorf("a reset by %v", code)
			}
		}
		s.counted(limit.Streams)
		a.nc.Close()
		<-a.ended
	})
}
