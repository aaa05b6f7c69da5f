package invite

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"tertulia/chat"
	"tertulia/ordering"
)

var noon = time.UnixMilli(1_800_000_000_000)

func sample() Link {
	return Link{
		Room: ordering.RoomID{1, 2, 3}, Name: "Círculo", Secret: [32]byte{4, 5}, Expires: noon.Add(time.Hour),
		Peers: []Peer{{Device: ordering.DeviceKey{6}, Addrs: []string{"/ip4/192.0.2.1/tcp/4001", "/ip4/192.0.2.1/udp/4001/quic-v1"}}},
	}
}

func TestALinkSaysWhatWasPutIn(t *testing.T) {
	got, err := Parse(sample().String(), noon)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestALinkSurvivesWrappingAndCapitals(t *testing.T) {
	s := strings.ToUpper(sample().String())
	s = " " + s[:40] + "\r\n  " + s[40:] + "\n"
	if got, err := Parse(s, noon); err != nil || got.Room != sample().Room {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestATypoIsToldFromAnExpiredInvite(t *testing.T) {
	s := sample().String()
	if _, err := Parse(s, noon.Add(2*time.Hour)); chat.CodeOf(err) != chat.CodeExpired {
		t.Errorf("expired: %v", err)
	}
	for i := len(scheme); i < len(s); i++ {
		c := byte('a')
		if s[i] == c {
			c = 'b'
		}
		if _, err := Parse(s[:i]+string(c)+s[i+1:], noon.Add(2*time.Hour)); chat.CodeOf(err) != chat.CodeInvalid {
			t.Fatalf("typo at %d: %v", i, err)
		}
		if _, err := Parse(s[:i], noon); chat.CodeOf(err) != chat.CodeInvalid {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if _, err := Parse("hello", noon); chat.CodeOf(err) != chat.CodeInvalid {
		t.Errorf("other text: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().String())
	f.Add("tertulia:")
	f.Add("tertulia:aaaa")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := Parse(s, noon)
		if err != nil {
			return
		}
		again, err := Parse(l.String(), noon)
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Fatalf("%+v became %+v, %v", l, again, err)
		}
	})
}
