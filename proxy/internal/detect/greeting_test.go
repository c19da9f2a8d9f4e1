package detect_test

import (
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/detect"
)

func TestGreeting(t *testing.T) {
	const settings = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"
	for first, want := range map[string]detect.Verdict{
		"":                                     detect.More,
		"\x00\x00":                             detect.More,
		settings[:7]:                           detect.More,
		settings:                               detect.HTTP2,
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00": detect.HTTP2,
		"SSH-2.0-x\r\n":                        detect.TCP,
		"220 mail.example ESMTP\r\n":           detect.TCP,
		"\x4a\x00\x00\x00\x0a5.7.0":            detect.TCP,
		"\x00\x00\x06\x04\x01\x00\x00\x00\x00": detect.TCP,
		"\x00\x00\x05\x04\x00\x00\x00\x00\x00": detect.TCP,
	} {
		if got := detect.Greeting([]byte(first)); got != want {
			t.Errorf("Greeting(%q) = %v, want %v", first, got, want)
		}
	}
}
