package webpush

import (
	"errors"
	"net/netip"
	"syscall"
)

// errAddress is returned by the dialer for an address that endpoints may not lead to.
var errAddress = errors.New("the address is not public")

// reserved are the addresses that are not public, beyond those that package netip knows: of IANA's special-purpose registries,
// and those that stand for an IPv4 address behind a translator.
var reserved = func() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
		"5f00::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}()

func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() { // which leaves out loopback, link-local, multicast and unspecified ones
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// onlyPublic is a dialer's Control: it sees the address that a name was resolved to, right before it is connected to, so that
// a name that resolves to another address the second time gains nothing.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(a.Addr()) {
		return errAddress
	}
	return nil
}
