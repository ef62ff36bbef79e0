package registry

import (
	"net/netip"
	"strings"
	"testing"
)

// TestAddresses: an address of this machine or its link is refused in whatever
// form it comes, and others that look like it are not.
func TestAddresses(t *testing.T) {
	for text, allowed := range map[string]bool{
		"127.0.0.1": false, "127.255.255.254": false, "169.254.169.254": false, "0.0.0.0": false, "0.1.2.3": false,
		"224.0.0.1": false, "239.1.2.3": false, "255.255.255.255": false,
		"192.0.2.1": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.1.1": true, "100.64.0.1": true, "128.0.0.1": true,
		"::1": false, "::": false, "fe80::1": false, "fe80::1%eth0": false, "febf::1": false, "fec0::1": false,
		"ff02::1": false, "ff05::1": false, "ff0e::1": false,
		"2001:db8::1": true, "fd00::1": true, "::2": false, // compatible with 0.0.0.2
		// mapped, compatible and translated
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:127.0.0.1%1": false, "::ffff:192.0.2.1": true,
		"::127.0.0.1": false, "::169.254.169.254": false, "::192.0.2.1": true,
		"::ffff:0:127.0.0.1": false, "::ffff:0:169.254.169.254": false, "::ffff:0:192.0.2.1": true,
		// NAT64: RFC 6052's prefix, and RFC 8215's with an address of 32 bits at any of the places
		"64:ff9b::127.0.0.1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b::169.254.169.254%eth0": false, "64:ff9b::192.0.2.1": true, "64:ff9b::10.0.0.1": true,
		"64:ff9b:1::127.0.0.1": false, "64:ff9b:1:ffff:ffff:ffff:169.254.169.254": false,
		"64:ff9b:1:a9fe:a9:fe00::": false, "64:ff9b:1:1a9:fe:a9fe::": false, "64:ff9b:1:1:a9:fea9:fe00:0": false,
		"64:ff9b:1:7f00:0:100::": false, "64:ff9b:1::192.0.2.1": true, "64:ff9b:1:c000:2:100::": true,
		// 6to4
		"2002:7f00:1::1": false, "2002:a9fe:a9fe::": false, "2002:a9fe:a9fe:1:2:3:4:5": false, "2002:c000:201::1": true, "2002:a00:1::1": true,
		// Teredo: the server, and the client's with its bits the other way round
		"2001:0:a9fe:a9fe::": false, "2001:0:c000:201:8000:63bf:5601:5601": false, "2001:0:c000:201:0:63bf:80ff:fffe": false, "2001:0:c000:201:0:63bf:3fff:fdfe": true,
		// ISATAP
		"2001:db8::5efe:169.254.169.254": false, "2001:db8::200:5efe:127.0.0.1": false, "2001:db8::5efe:192.0.2.1": true,
		// one inside another
		"2002:7f00:1:0:0:5efe:192.0.2.1": false,
	} {
		addr := netip.MustParseAddr(text)
		err := checkAddress(addr)
		if (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed: %t", text, err, allowed)
		}
		if err != nil && !strings.Contains(err.Error(), addr.String()) {
			t.Errorf("%s: %q does not name it", text, err)
		}
	}
}
