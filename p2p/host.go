package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/gologshim"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The protocols, all our own, so that no public network mixes with ours.
const (
	protocolPeer   = "/tertulia/peer/1"
	protocolJoin   = "/tertulia/join/1"
	protocolFetch  = "/tertulia/fetch/1"
	protocolFinals = "/tertulia/finals/1"
	protocolKeys   = "/tertulia/keys/1"
	protocolNearby = "/tertulia/nearby/1"
)

// Limits of the host. libp2p's own allow 8 connections per address and one new
// one in 5 s, which shuts out an office behind one router.
const (
	connsLow           = 96 // connections that are kept
	connsHigh          = 128
	connsPerAddress    = 256 // per IPv4 address or IPv6 /56
	connsPerLoopback   = 1024
	newConnsPerSecond  = 20 // per IPv4 address or IPv6 /56
	newConnsAtOnce     = 256
	relayReservations  = 128 // peers a bootstrap node can be reached through
	relayCircuits      = 16  // per peer
	relayCircuitBytes  = 16 << 20
	relayCircuitLength = 30 * time.Minute
	relayBuffer        = 16 << 10              // bytes per circuit and direction
	quicHandicap       = 50 * time.Millisecond // on private networks
	// streamWindow is how many bytes a TCP stream may have on the way that the
	// peer has not read. Heartbeats and signals wait for that much, 42 ms at
	// 100 Mbit/s; libp2p's own 16 MiB would be more than a second. A history is
	// still fetched with 5 MB/s over a round trip of 100 ms.
	streamWindow = 512 << 10
)

func newHost(cfg Config, bootstraps []peer.AddrInfo) (host.Host, error) {
	gologshim.SetDefaultHandler(quietHandler{cfg.Log.Handler()})
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("p2p: read the device key: %w", err)
	}
	resources, err := newResources()
	if err != nil {
		return nil, fmt.Errorf("p2p: set limits: %w", err)
	}
	conns, err := connmgr.NewConnManager(connsLow, connsHigh)
	if err != nil {
		return nil, fmt.Errorf("p2p: set limits: %w", errors.Join(err, resources.Close()))
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("tertulia/" + cfg.Version),
		libp2p.ListenAddrStrings(listenAddrs(cfg)...),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, newYamux()),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(conns),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
		libp2p.EnableHolePunching(),
		libp2p.EnableAutoNATv2(),
		libp2p.DisableMetrics(),
	}
	if !onlyLoopback(cfg.Listen) {
		opts = append(opts, libp2p.NATPortMap())
	}
	if cfg.Bootstrap {
		opts = append(opts,
			// Whoever starts a bootstrap node vouches for it being reachable;
			// without this no relay runs on a local network.
			libp2p.ForceReachabilityPublic(),
			libp2p.EnableNATService(),
			libp2p.EnableRelayService(relayv2.WithResources(relayv2.Resources{
				Limit:           &relayv2.RelayLimit{Duration: relayCircuitLength, Data: relayCircuitBytes},
				ReservationTTL:  time.Hour,
				MaxReservations: relayReservations, MaxCircuits: relayCircuits, BufferSize: relayBuffer,
				MaxReservationsPerIP: relayReservations, MaxReservationsPerASN: relayReservations,
			})),
		)
	} else if len(bootstraps) > 0 {
		opts = append(opts, libp2p.EnableAutoRelayWithStaticRelays(bootstraps))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		return nil, fmt.Errorf("p2p: start the host: %w", err)
	}
	if err := allListening(h, cfg); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// newYamux returns the multiplexer of TCP connections.
func newYamux() network.Multiplexer {
	t := *yamux.DefaultTransport
	t.MaxStreamWindowSize = streamWindow
	return &t
}

func listenAddrs(cfg Config) []string {
	if len(cfg.Listen) > 0 {
		return cfg.Listen
	}
	var addrs []string
	for _, ip := range []string{"/ip4/0.0.0.0", "/ip6/::"} {
		addrs = append(addrs, fmt.Sprintf("%s/tcp/%d", ip, cfg.Port), fmt.Sprintf("%s/udp/%d/quic-v1", ip, cfg.Port))
	}
	return addrs
}

// allListening makes a port that somebody else has an error: libp2p is content
// when any one of several listeners starts. A machine without IPv6 is fine.
func allListening(h host.Host, cfg Config) error {
	have := h.Network().ListenAddresses()
	for _, want := range listenAddrs(cfg) {
		w, err := ma.NewMultiaddr(want)
		if err != nil {
			return fmt.Errorf("p2p: listen address %q: %w", want, err)
		}
		if len(cfg.Listen) == 0 && strings.HasPrefix(want, "/ip6/") {
			continue
		}
		if !listensOn(have, w) {
			return fmt.Errorf("p2p: cannot listen on %s: the port is taken or the address is not this machine's", want)
		}
	}
	return nil
}

// listensOn reports whether a listener has the address and protocols of want,
// and its port unless that is 0.
func listensOn(have []ma.Multiaddr, want ma.Multiaddr) bool {
	for _, h := range have {
		if len(h) != len(want) {
			continue
		}
		same := true
		for i, c := range want {
			p := c.Protocol().Code
			port := p == ma.P_TCP || p == ma.P_UDP
			if h[i].Protocol().Code != p || h[i].Value() != c.Value() && (!port || c.Value() != "0") {
				same = false
			}
		}
		if same {
			return true
		}
	}
	return false
}

func onlyLoopback(listen []string) bool {
	for _, l := range listen {
		if a, err := ma.NewMultiaddr(l); err != nil || !manet.IsIPLoopback(a) {
			return false
		}
	}
	return len(listen) > 0
}

func newResources() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	loopback4, loopback6 := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")
	some := rate.Limit{RPS: newConnsPerSecond, Burst: newConnsAtOnce}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: loopback4, ConnCount: connsPerLoopback}},
			[]rcmgr.NetworkPrefixLimit{{Network: loopback6, ConnCount: connsPerLoopback}}),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: connsPerAddress}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: loopback4}, {Prefix: loopback6}}, // no limit
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: some}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: some}},
				GracePeriod:      time.Minute,
			},
		}))
}

// rankDials prefers TCP on private networks: the kernel of a killed peer closes
// its TCP connections at once, while QUIC finds out by a time-out. Across the
// internet libp2p's own ranking holds, which prefers QUIC for its hole punching.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var ranked []network.AddrDelay
	var public []ma.Multiaddr
	for _, a := range addrs {
		_, relayErr := a.ValueForProtocol(ma.P_CIRCUIT)
		_, udpErr := a.ValueForProtocol(ma.P_UDP)
		switch {
		case relayErr == nil || !manet.IsPrivateAddr(a):
			public = append(public, a)
		case udpErr == nil:
			ranked = append(ranked, network.AddrDelay{Addr: a, Delay: quicHandicap})
		default:
			ranked = append(ranked, network.AddrDelay{Addr: a})
		}
	}
	return append(ranked, swarm.DefaultDialRanker(public)...)
}

// quietHandler lets libp2p's errors through, and its warnings when everything is
// logged: what it warns of is, for a desktop program, mostly the weather.
type quietHandler struct{ slog.Handler }

func (q quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && q.Handler.Enabled(ctx, l) || l >= slog.LevelWarn && q.Handler.Enabled(ctx, slog.LevelDebug)
}

func (q quietHandler) WithAttrs(a []slog.Attr) slog.Handler {
	return quietHandler{q.Handler.WithAttrs(a)}
}

func (q quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{q.Handler.WithGroup(name)}
}

// clearBackoff lets the next dial of a peer happen at once. Our own backoff is
// the one that counts.
func clearBackoff(h host.Host, id peer.ID) {
	if s, ok := h.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
}
