package registry

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// checkAddress refuses an address that only this machine and its link reach, and
// an IPv6 address that stands for such an IPv4 address: the network may
// translate or tunnel it.
func checkAddress(addr netip.Addr) error {
	for _, a := range append(embedded(addr), addr) {
		if !isNear(a) {
			continue
		}
		text := addr.String()
		if a != addr {
			text += fmt.Sprintf(", which stands for %s,", a)
		}
		return fmt.Errorf("its address %s is of this machine or its link", text)
	}
	return nil
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8") // RFC 1122, 3.2.1.3
	siteLocal   = netip.MustParsePrefix("fec0::/10") // deprecated by RFC 3879
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)

// isNear reports whether addr itself is of this machine or its link, or of many
// machines at once.
func isNear(addr netip.Addr) bool {
	addr = addr.WithZone("") // no prefix contains addresses with a zone
	return addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified() || addr.IsMulticast() ||
		addr == broadcast || thisNetwork.Contains(addr) || siteLocal.Contains(addr)
}

var (
	teredo     = netip.MustParsePrefix("2001::/32")
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")
	tail       = [4]int{12, 13, 14, 15}
)

// embeddings are the IPv6 addresses that contain an IPv4 address: their
// prefixes, and which of their bytes it is.
var embeddings = []struct {
	prefix netip.Prefix
	at     [4]int
}{
	{netip.MustParsePrefix("::/96"), tail},                   // compatible: RFC 4291, 2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), tail},         // translated: RFC 2765, 2.1
	{netip.MustParsePrefix("64:ff9b::/96"), tail},            // NAT64: RFC 6052, 2.1
	{netip.MustParsePrefix("2002::/16"), [4]int{2, 3, 4, 5}}, // 6to4: RFC 3056, 2
	{teredo, [4]int{4, 5, 6, 7}},                             // its server: RFC 4380, 4
	// A network's own NAT64 (RFC 8215) has a prefix of any length that fits in
	// this one, on which the positions depend: RFC 6052, 2.2.
	{localNAT64, [4]int{6, 7, 9, 10}},
	{localNAT64, [4]int{7, 9, 10, 11}},
	{localNAT64, [4]int{9, 10, 11, 12}},
	{localNAT64, tail},
}

// embedded returns the IPv4 addresses that an IPv6 address may stand for.
func embedded(addr netip.Addr) []netip.Addr {
	addr = addr.WithZone("")
	if addr.Is4() {
		return nil
	}
	if addr.Is4In6() {
		return []netip.Addr{addr.Unmap()}
	}
	var all []netip.Addr
	b := addr.As16()
	for _, e := range embeddings {
		v4 := netip.AddrFrom4([4]byte{b[e.at[0]], b[e.at[1]], b[e.at[2]], b[e.at[3]]})
		// Most positions that hold no address are zeros.
		if e.prefix.Contains(addr) && (e.prefix != localNAT64 || !thisNetwork.Contains(v4)) {
			all = append(all, v4)
		}
	}
	if teredo.Contains(addr) { // the client, with its bits inverted
		all = append(all, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if id := binary.BigEndian.Uint32(b[8:]); id == 0x5efe || id == 0x02005efe { // ISATAP: RFC 5214, 6.1
		all = append(all, netip.AddrFrom4([4]byte(b[12:])))
	}
	return all
}
