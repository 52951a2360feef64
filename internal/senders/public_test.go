package senders_test

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"

	"ingestd/internal/senders"
)

func TestIsPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"52.216.8.3": true, "8.8.8.8": true, "100.128.0.1": true, "172.32.0.1": true, "2a05:d07a::1": true,
		"2002:0808:0808::1": true, "64:ff9b::808:808": true, "::ffff:8.8.8.8": true,

		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false, "fec0::1": false,
		"100.64.0.1": false, "100.127.255.255": false, "198.18.0.1": false, "192.0.0.1": false, "192.0.2.1": false,
		"224.0.0.1": false, "239.1.1.1": false, "ff02::1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::1": false, "2002:a00:1::": false, "2001:db8::1": false,
	} {
		if got := senders.IsPublic(netip.MustParseAddr(text)); got != want {
			t.Errorf("IsPublic(%s) = %t, want %t", text, got, want)
		}
	}
	if senders.IsPublic(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// A name that resolves to this machine is refused at the dialled address.
func TestPublicOnly(t *testing.T) {
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	port := server.URL[len("http://127.0.0.1:"):]
	for name, dial := range map[string]senders.Dial{
		"net.Dialer": nil,
		"own dial":   new(net.Dialer).DialContext,
		"a pipe":     func(context.Context, string, string) (net.Conn, error) { c, _ := net.Pipe(); return c, nil },
	} {
		t.Run(name, func(t *testing.T) {
			for _, host := range []string{"localhost", "127.0.0.1"} {
				c := senders.NewClient(senders.Options{AllowHTTP: true, PublicOnly: true, Dial: dial})
				a := c.JSON(t.Context(), "GET", "http://"+host+":"+port+"/", nil, nil)
				var e *senders.Error
				if !errors.As(a.Err, &e) || e.Class != senders.Held || e.Code != "ssrf" || a.Connected {
					t.Errorf("%s: %+v", host, a)
				}
			}
		})
	}
	a := senders.NewClient(senders.Options{}).JSON(t.Context(), "GET", server.URL+"/", nil, nil)
	if a.Err != nil || a.Status != 404 {
		t.Errorf("without the rule: %+v", a)
	}
}
