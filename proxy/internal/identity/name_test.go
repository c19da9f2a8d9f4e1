package identity

import "testing"

func TestServerName(t *testing.T) {
	sni := ServerName("default/web", 8080)
	if sni != "8080.web.default.weft" {
		t.Errorf("got %q", sni)
	}
	if service, port, ok := ParseServerName(sni); service != "default/web" || port != 8080 || !ok {
		t.Errorf("got %q, %d, %v", service, port, ok)
	}
	for _, bad := range []string{"", "weft", ".weft", "web.default.weft", "0.web.default.weft", "x.web.default.weft", "+1.web.default.weft",
		"65536.web.default.weft", "80..default.weft", "80.web..weft", "80.web.a.b.weft", "80.web.default", "80.web.default.weft.evil"} {
		if service, port, ok := ParseServerName(bad); ok {
			t.Errorf("%q is taken for %q, %d", bad, service, port)
		}
	}
}
