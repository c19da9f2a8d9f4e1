package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy"
)

func TestParseUpstream(t *testing.T) {
	tests := []struct {
		text string
		want proxy.Upstream
		key  string
		err  string
	}{
		{"reviews", proxy.Upstream{Namespace: "default", Name: "reviews"}, "default/reviews", ""},
		{"reviews:9080", proxy.Upstream{Namespace: "default", Name: "reviews", Port: 9080}, "default/reviews:9080", ""},
		{"reviews=7000", proxy.Upstream{Namespace: "default", Name: "reviews", LocalPort: 7000}, "default/reviews", ""},
		{"shop/reviews:80=7000", proxy.Upstream{Namespace: "shop", Name: "reviews", Port: 80, LocalPort: 7000}, "shop/reviews:80", ""},
		{"dns:53/udp", proxy.Upstream{Namespace: "default", Name: "dns", Port: 53, UDP: true}, "default/dns:53/udp", ""},
		{"ops/dns:53/udp=5353", proxy.Upstream{Namespace: "ops", Name: "dns", Port: 53, UDP: true, LocalPort: 5353}, "ops/dns:53/udp", ""},
		{"dns:/udp", proxy.Upstream{}, "", "port"},
		{"dns:53/tcp", proxy.Upstream{}, "", "port"},
		{"reviews:", proxy.Upstream{}, "", "port"},
		{"reviews:0", proxy.Upstream{}, "", "port"},
		{"reviews:70000", proxy.Upstream{}, "", "port"},
		{"reviews=x", proxy.Upstream{}, "", "local port"},
		{"", proxy.Upstream{}, "", "NAME"},
		{"/reviews", proxy.Upstream{}, "", "NAME"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := proxy.ParseUpstream(tt.text, "default")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("want an error about %q, got %v", tt.err, err)
				}
				return
			}
			if err != nil || got != tt.want || got.Key() != tt.key {
				t.Errorf("want %+v (%s), got %+v (%s), %v", tt.want, tt.key, got, got.Key(), err)
			}
		})
	}
}

func TestValidateReportsEverything(t *testing.T) {
	cfg := proxy.Default()
	cfg.Namespace, cfg.Services, cfg.Protocol, cfg.Advertise, cfg.Drain = "Default", []string{"a_b"}, "smtp", "localhost", -time.Second
	cfg.MTLS = "permissive" // looser than the mesh may be
	cfg.Upstreams = []proxy.Upstream{{Namespace: "default", Name: "x"}, {Namespace: "default", Name: "x"}}
	err := cfg.Validate()
	for _, want := range []string{"namespace", "workload", "service", "app-port", "protocol", "advertise", "drain", "named twice", "mtls"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want a problem with %q in: %v", want, err)
		}
	}
	good := proxy.Default()
	good.Workload = "web-1"
	if err := good.Validate(); err != nil {
		t.Errorf("defaults with a name: %v", err)
	}
}
