package sandbox

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// linkPrefix begins the host's end of each veth pair; the number of the program's addresses follows, so that the kernel,
	// which has each name once, hands the addresses out.
	linkPrefix = "weft-"
	// linkInside is the program's end.
	linkInside = "eth0"
	// firstNumber leaves the network's own address and the bridge's out.
	firstNumber = 2
)

// connect makes a veth pair between the bridge and a namespace.
func connect(cfg Config, ns *os.File, owner string) (name string, number uint32, err error) {
	bridge, err := netlink.LinkByName(cfg.Bridge)
	if err != nil {
		return "", 0, fmt.Errorf("bridge %s: %w", cfg.Bridge, err)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(owner)) // a hash cannot fail
	size := uint32(1)<<(32-cfg.IPv4.Bits()) - firstNumber - 1
	for i := range size {
		number = firstNumber + (h.Sum32()+i)%size
		name = fmt.Sprintf("%s%x", linkPrefix, number)
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex, attrs.Flags = name, bridge.Attrs().Index, net.FlagUp
		err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: linkInside, PeerNamespace: netlink.NsFd(int(ns.Fd()))})
		if !errors.Is(err, os.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", 0, fmt.Errorf("veth pair %s: %w", name, err)
	}
	return name, number, nil
}

// unlink removes a veth pair; one that was never made, or that the kernel has removed already, is no error.
func unlink(name string) error {
	if name == "" {
		return nil
	}
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove veth pair %s: %w", name, err)
	}
	return nil
}

// configure gives the program's end its addresses and routes.
func configure(cfg Config, ns *os.File, number uint32) ([]netip.Addr, error) {
	h, err := inside(ns)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links := map[string]netlink.Link{}
	for _, name := range []string{"lo", linkInside} {
		link, err := h.LinkByName(name)
		if err == nil {
			err = h.LinkSetUp(link)
		}
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", name, err)
		}
		links[name] = link
	}
	var addresses []netip.Addr
	for _, prefix := range cfg.networks() {
		address := nth(prefix, number)
		if err := h.AddrAdd(links[linkInside], address4or6(address, prefix.Bits())); err != nil {
			return nil, fmt.Errorf("address %s: %w", address, err)
		}
		gateway := &netlink.Route{LinkIndex: links[linkInside].Attrs().Index, Gw: nth(prefix, 1).AsSlice()}
		if err := h.RouteAdd(gateway); err != nil {
			return nil, fmt.Errorf("route by %s: %w", nth(prefix, 1), err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// networks are those that the kernel can have.
func (c Config) networks() []netip.Prefix {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil || !c.IPv6.IsValid() {
		return []netip.Prefix{c.IPv4}
	}
	return []netip.Prefix{c.IPv4, c.IPv6}
}

// nth is the address with a number in a network.
func nth(p netip.Prefix, n uint32) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for i := len(raw) - 1; n > 0; i-- {
		raw[i] |= byte(n)
		n >>= 8
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

func address4or6(a netip.Addr, bits int) *netlink.Addr {
	out := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, a.BitLen())}}
	if a.Is6() {
		out.Flags = unix.IFA_F_NODAD // nobody else is there; detection would delay the first packets by a second
	}
	return out
}
