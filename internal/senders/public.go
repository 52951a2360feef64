package senders

import (
	"context"
	"net"
	"net/netip"
	"syscall"
)

// publicOnly refuses to connect to addresses that are not of the public
// internet. It looks at the address that is dialled, after name resolution:
// a name that a vendor's answer gave may resolve to anything, and to something
// else the second time.
func publicOnly(dial Dial) Dial {
	if dial == nil {
		d := net.Dialer{Control: func(_, addr string, _ syscall.RawConn) error { return checkPublic(addr) }}
		return d.DialContext
	}
	// A dial of the caller's own cannot be looked into before it connects.
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if err := checkPublic(c.RemoteAddr().String()); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
}

func checkPublic(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err == nil && IsPublic(at.Addr()) {
		return nil
	}
	return &Error{Class: Held, Code: "ssrf", Text: "the address that the vendor's answer names is not on the public internet, so nothing was sent to it; ask the vendor, or set allow_http = true where this is a rehearsal"}
}

// IsPublic reports whether an address can belong to a host of the public
// internet. IPv6 forms that carry an IPv4 address are judged by that one.
func IsPublic(ip netip.Addr) bool {
	ip = embedded(ip.Unmap().WithZone(""))
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false // also loopback, link-local, multicast, unspecified, broadcast
	}
	for _, special := range []string{
		// IANA special-purpose registries (RFC 6890 and its successors).
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "fec0::/10",
	} {
		if netip.MustParsePrefix(special).Contains(ip) {
			return false
		}
	}
	return true
}

// embedded is the IPv4 address inside a NAT64 or 6to4 address.
func embedded(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:]))
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}
