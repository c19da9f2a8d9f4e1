package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hostTable is the packet filter's table that gives the host's address to what leaves the sandboxes.
const hostTable = "weft_host"

// ensureHost makes the bridge and lets what is not captured through it.
func ensureHost(cfg Config) error {
	bridge, err := ensureBridge(cfg)
	if err != nil {
		return err
	}
	for _, prefix := range cfg.networks() {
		gateway := nth(prefix, 1)
		if err := netlink.AddrReplace(bridge, address4or6(gateway, prefix.Bits())); err != nil {
			return fmt.Errorf("address %s of bridge %s: %w", gateway, cfg.Bridge, err)
		}
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	if err := masquerade(cfg); err != nil {
		return err
	}
	return forward(bridge)
}

func ensureBridge(cfg Config) (netlink.Link, error) {
	if link, err := netlink.LinkByName(cfg.Bridge); err == nil {
		return link, nil
	}
	if err := inUse(cfg); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = cfg.Bridge
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	link, err := netlink.LinkByName(cfg.Bridge)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	return link, nil
}

// inUse finds a network of the host that overlaps with that of the sandboxes.
func inUse(cfg Config) error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("routes of this host: %w", err)
	}
	for i := range routes {
		if routes[i].Dst == nil {
			continue
		}
		there, err := netip.ParsePrefix(routes[i].Dst.String())
		if err == nil && there.Bits() > 0 && there.Overlaps(cfg.IPv4) {
			return fmt.Errorf("the network %s of captured programs overlaps with this host's route to %s: choose another one with --capture-network", cfg.IPv4, there)
		}
	}
	return nil
}

// masquerade gives packets that leave by other interfaces the host's address.
func masquerade(cfg Config) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("packet filter: %w", err)
	}
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, cfg.Bridge)
	dropTable(c)
	table := c.AddTable(&nftables.Table{Name: hostTable, Family: nftables.TableFamilyINet})
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		// Set for forwarded packets only: the host's own have no interface that they came in by.
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: name},
		&expr.Masq{},
	}})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("program the packet filter's table %q: %w", hostTable, err)
	}
	return nil
}

func dropTable(c *nftables.Conn) {
	t := &nftables.Table{Name: hostTable, Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
}

// forwarding is the kernel's switch that lets packets pass from one interface to another. That of IPv6 is left alone: it makes a
// host deaf to router advertisements.
const forwarding = "/proc/sys/net/ipv4/ip_forward"

// switchedOn is the bridge's alias when forwarding was off before: it goes with the bridge.
const switchedOn = "weft: ip_forward was 0"

func forward(bridge netlink.Link) error {
	value, err := os.ReadFile(forwarding)
	if err == nil && strings.TrimSpace(string(value)) != "0" {
		return nil
	}
	if err == nil {
		err = netlink.LinkSetAlias(bridge, switchedOn)
	}
	if err == nil {
		err = os.WriteFile(forwarding, []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("let packets of the programs pass: %w", err)
	}
	return nil
}

// removeHost takes away what ensureHost made, unless sandboxes hang on the bridge still: also such of other run directories.
func removeHost(cfg Config) error {
	bridge, err := netlink.LinkByName(cfg.Bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	if used, err := inhabited(bridge); used || err != nil {
		return err
	}
	var errs []error
	if c, err := nftables.New(); err == nil {
		dropTable(c)
		errs = append(errs, c.Flush())
	}
	if bridge.Attrs().Alias == switchedOn {
		errs = append(errs, os.WriteFile(forwarding, []byte("0"), 0))
	}
	errs = append(errs, netlink.LinkDel(bridge))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what captured programs had on this host: %w", err)
	}
	return nil
}

// inhabited says whether anything hangs on the bridge.
func inhabited(bridge netlink.Link) (bool, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return false, fmt.Errorf("interfaces of this host: %w", err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			return true, nil
		}
	}
	return false, nil
}
