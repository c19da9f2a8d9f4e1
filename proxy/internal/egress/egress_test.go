package egress

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

func policy(strict bool) *table.Egress {
	return &table.Egress{Strict: strict, Services: []table.ExternalService{
		{Name: "a/any", Hosts: []string{"*.example"}},
		{Name: "a/db", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Ports: []uint16{5432}},
		{Name: "a/one", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}},
		{Name: "b/pay", Hosts: []string{"pay.example", "*.pay.example"}, Ports: []uint16{443}},
	}}
}

func TestAddress(t *testing.T) {
	tests := []struct {
		name, to      string
		strict        bool
		want          Decision
		withoutPolicy bool
	}{
		{"named", "192.0.2.1:5432", true, Decision{Allowed: true, Service: "a/db"}, false},
		{"narrowest", "192.0.2.7:5432", true, Decision{Allowed: true, Service: "a/one"}, false},
		{"another port", "192.0.2.1:80", true, Decision{Hosts: true}, false},
		{"another port, open", "192.0.2.1:80", false, Decision{Allowed: true, Hosts: true}, false},
		{"IPv6", "[2001:db8::1]:1", true, Decision{Allowed: true, Service: "a/one"}, false},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:5432", true, Decision{Allowed: true, Service: "a/db"}, false},
		{"zone", "[2001:db8::1%eth0]:1", true, Decision{Allowed: true, Service: "a/one"}, false},
		{"nothing named", "198.51.100.1:1", true, Decision{}, true},
		{"nothing named, open", "198.51.100.1:1", false, Decision{Allowed: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := policy(tt.strict)
			if tt.withoutPolicy {
				e.Services = nil
			}
			if got := Address(e, netip.MustParseAddrPort(tt.to)); got != tt.want {
				t.Errorf("want %+v, got %+v", tt.want, got)
			}
		})
	}
}

func TestHost(t *testing.T) {
	tests := []struct {
		name, host string
		port       uint16
		want       string
	}{
		{"in full", "pay.example", 443, "b/pay"},
		{"longer pattern", "a.pay.example", 443, "b/pay"},
		{"several labels", "x.y.pay.example", 443, "b/pay"},
		{"another port", "pay.example", 80, "a/any"},
		{"port in the name", "pay.example:8443", 443, "b/pay"},
		{"upper case and final dot", "PAY.Example.", 443, "b/pay"},
		{"the suffix itself", "example", 443, ""},
		{"only part of a label", "notpay.example2", 443, ""},
		{"no label before", ".example", 443, ""},
		{"suffix without a dot", "payexample", 443, ""},
		{"address", "192.0.2.1", 5432, ""},
		{"address in brackets", "[2001:db8::1]:443", 443, ""},
		{"another name before a NUL", "evil.test\x00.pay.example", 443, ""},
		{"line end", "evil.test\r\n.pay.example", 443, ""},
		{"path before the suffix", "evil.test/.pay.example", 443, ""},
		{"space", "evil.test .pay.example", 443, ""},
		{"underscore", "_x.pay.example", 443, "b/pay"},
		{"nothing", "", 443, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, strict := range []bool{true, false} {
				want := Decision{Allowed: !strict || tt.want != "", Service: tt.want}
				if got := Host(policy(strict), tt.host, tt.port); got != want {
					t.Errorf("strict %v: want %+v, got %+v", strict, want, got)
				}
			}
		})
	}
}

func TestWithoutAPolicyTheModeDecides(t *testing.T) {
	for mode, strict := range map[table.MTLSMode]bool{table.Off: false, table.Permissive: false, table.Strict: true} {
		if got := Of(&table.Table{Mesh: table.Mesh{MTLS: mode}}); got.Strict != strict {
			t.Errorf("mode %v: strict %v", mode, got.Strict)
		}
	}
	own := &table.Egress{}
	if Of(&table.Table{Egress: own}) != own {
		t.Error("the policy of the table does not count")
	}
}

// anyPolicy draws few values, so that they meet often.
func anyPolicy(t *rapid.T) *table.Egress {
	e := &table.Egress{Strict: rapid.Bool().Draw(t, "strict")}
	for range rapid.IntRange(0, 4).Draw(t, "services") {
		s := table.ExternalService{Name: rapid.SampledFrom([]string{"a/a", "a/b", "b/a"}).Draw(t, "name")}
		s.Hosts = rapid.SliceOfN(rapid.SampledFrom([]string{"a.b", "*.b", "*.a.b", "b"}), 0, 2).Draw(t, "hosts")
		s.Ports = rapid.SliceOfN(rapid.SampledFrom([]uint16{80, 443}), 0, 2).Draw(t, "ports")
		for range rapid.IntRange(0, 2).Draw(t, "ranges") {
			bits := rapid.IntRange(0, 32).Draw(t, "bits")
			prefix, _ := netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "last")}).Prefix(bits)
			s.Addresses = append(s.Addresses, prefix)
		}
		e.Services = append(e.Services, s)
	}
	return e
}

// TestDecisionsFollowThePolicy checks the rules that hold for every policy: open allows everything, strict exactly what a service
// names, and one more service never takes anything away.
func TestDecisionsFollowThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyPolicy(t)
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "to")}), rapid.SampledFrom([]uint16{80, 443, 1}).Draw(t, "port"))
		host := rapid.SampledFrom([]string{"a.b", "b", "c.b", "x.a.b", "", "10.0.0.1"}).Draw(t, "host")
		byAddress, byHost := Address(e, to), Host(e, host, to.Port())
		if byAddress.Allowed != (!e.Strict || byAddress.Service != "") || byHost.Allowed != (!e.Strict || byHost.Service != "") {
			t.Fatalf("%+v and %+v of %+v", byAddress, byHost, e)
		}
		if byHost.Service != "" && byAddress.Service == "" && !byAddress.Hosts {
			t.Fatalf("the host decides, but Address says that it cannot: %+v", e)
		}
		more := *e
		more.Services = append(append([]table.ExternalService{}, e.Services...), anyPolicy(t).Services...)
		if byAddress.Allowed && !Address(&more, to).Allowed || byHost.Allowed && !Host(&more, host, to.Port()).Allowed {
			t.Fatal("another service took something away")
		}
	})
}
