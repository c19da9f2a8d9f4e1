package capture

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Install programs the namespace of the calling thread. It replaces what an earlier call installed.
func Install(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	table := replace(c)
	outputTCP(c, table, cfg)
	outputUDP(c, table, cfg)
	divertIn(c, table, cfg)
	input(c, table, cfg)
	closed(c, table, cfg)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("program the packet filter's table %q: %w", Table, err)
	}
	return installRoutes()
}

// Remove takes away everything that Install did in the namespace of the calling thread. Doing so twice is no error.
func Remove() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	drop(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove the packet filter's table %q: %w", Table, err)
	}
	return removeRoutes()
}

// drop queues the removal of the table. One is added first, so that there is one to remove.
func drop(c *nftables.Conn) {
	t := &nftables.Table{Name: Table, Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
}

func replace(c *nftables.Conn) *nftables.Table {
	drop(c)
	return c.AddTable(&nftables.Table{Name: Table, Family: nftables.TableFamilyINet})
}

// outputTCP redirects what the program sends by TCP.
func outputTCP(c *nftables.Conn, t *nftables.Table, cfg Config) {
	add := chain(c, t, "output_tcp", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	spare(add, cfg)
	add(protocol(unix.IPPROTO_TCP), redirect(cfg.Outbound))
}

// outputUDP marks what the program sends by UDP, so that the routing rule sends it back inside. Replies of a program that
// somebody called go their way.
func outputUDP(c *nftables.Conn, t *nftables.Table, cfg Config) {
	add := chain(c, t, "output_udp", nftables.ChainTypeRoute, nftables.ChainHookOutput, nftables.ChainPriorityMangle)
	spare(add, cfg)
	add(reply(), accept())
	for _, group := range groups() {
		add(group, accept())
	}
	add(protocol(unix.IPPROTO_UDP), setMark(divert))
}

// divertIn hands the marked datagrams to the sidecar's socket, unchanged.
func divertIn(c *nftables.Conn, t *nftables.Table, cfg Config) {
	add := chain(c, t, "divert", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityMangle)
	for _, family := range []byte{unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		add(incoming(expr.CmpOpEq, "lo"), marked(divert), network(family), protocol(unix.IPPROTO_UDP), tproxy(family, cfg.Outbound), accept())
	}
}

// input redirects what reaches the program from outside of its namespace.
func input(c *nftables.Conn, t *nftables.Table, cfg Config) {
	add := chain(c, t, "input", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	add(incoming(expr.CmpOpEq, "lo"), accept())
	own := []uint16{cfg.Inbound}
	if cfg.Mesh != 0 {
		own = append(own, cfg.Mesh)
	}
	for _, port := range own {
		add(protocol(unix.IPPROTO_TCP), destination(port), accept())
	}
	for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		add(protocol(p), redirect(cfg.Inbound))
	}
}

// closed lets nothing of the program's leave that was not captured, whatever happened to the other chains: but for ICMP, DNS
// and answers to what came in.
func closed(c *nftables.Conn, t *nftables.Table, cfg Config) {
	add := chain(c, t, "closed", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, nftables.ChainPriorityFilter)
	spare(add, cfg)
	add(reply(), accept())
	for _, p := range []byte{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		add(protocol(p), accept())
	}
	for _, group := range groups() {
		add(protocol(unix.IPPROTO_UDP), group, accept())
	}
	add([]expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}})
}

// spare excludes the sidecar's own traffic, what stays inside, DNS, and what was asked to be.
func spare(add func(...[]expr.Any), cfg Config) {
	add(marked(Mark), accept())
	add([]expr.Any{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(UID)},
	}, accept())
	add(outgoing("lo"), accept())
	for _, port := range append([]uint16{dnsPort}, slices.Sorted(slices.Values(cfg.ExcludeOutbound))...) {
		for _, p := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			add(protocol(p), destination(port), accept())
		}
	}
}

// chain adds a base chain and returns what adds a rule of several parts to it.
func chain(c *nftables.Conn, t *nftables.Table, name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
	policy := nftables.ChainPolicyAccept
	ch := c.AddChain(&nftables.Chain{Name: name, Table: t, Type: kind, Hooknum: hook, Priority: prio, Policy: &policy})
	return func(parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: t, Chain: ch, Exprs: slices.Concat(parts...)})
	}
}
