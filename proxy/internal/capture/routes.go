package capture

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// installRoutes makes marked datagrams come back in by the loopback interface.
func installRoutes() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	for _, f := range families() {
		route := divertRoute(f, lo)
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s in table %d: %w", route.Dst, divertTable, err)
		}
		if err := netlink.RuleAdd(divertRule(f)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("routing rule for mark %d: %w", divert, err)
		}
	}
	return nil
}

func removeRoutes() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback interface: %w", err)
	}
	gone := func(err error) bool {
		return err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EAFNOSUPPORT)
	}
	for _, f := range families() {
		if err := netlink.RuleDel(divertRule(f)); !gone(err) {
			return fmt.Errorf("remove routing rule for mark %d: %w", divert, err)
		}
		if err := netlink.RouteDel(divertRoute(f, lo)); !gone(err) {
			return fmt.Errorf("remove the route of table %d: %w", divertTable, err)
		}
	}
	return nil
}

// Loopbacks are the addresses that redirected connections of the program arrive at: one for each family that the kernel has.
func Loopbacks() []string {
	if len(families()) == 1 {
		return []string{"127.0.0.1"}
	}
	return []string{"127.0.0.1", "::1"}
}

// families are those that the kernel has.
func families() []int {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return []int{unix.AF_INET}
	}
	return []int{unix.AF_INET, unix.AF_INET6}
}

func divertRule(family int) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Family, rule.Mark, rule.Table = family, divert, divertTable
	return rule
}

// divertRoute says that every address is one of this machine's.
func divertRoute(family int, lo netlink.Link) *netlink.Route {
	everything := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == unix.AF_INET6 {
		everything = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: everything, Table: divertTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Family: family,
	}
}
