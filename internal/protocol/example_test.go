package protocol_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

// pair is a PacketConn over two channels.
type pair struct{ in, out chan []byte }

func (w pair) ReadPacket() ([]byte, error) { return <-w.in, nil }

func (w pair) WritePackets(packets ...[]byte) error {
	for _, p := range packets {
		w.out <- p
	}
	return nil
}

// Two nodes shake hands. The accepting node gives a name to the other, which
// came without one.
func Example_handshake() {
	ab, ba := make(chan []byte, 4), make(chan []byte, 4)
	done := make(chan dist.Peer)
	go func() {
		conn := pair{in: ab, out: ba}
		name, err := protocol.ReadName(conn)
		if err != nil {
			panic(err)
		}
		self := protocol.Self{Name: "server@example.com", Cookie: "secret", Creation: 1, Challenge: 0x1234}
		peer, err := protocol.Respond(conn, self, name, protocol.RespondOptions{
			Decide: func(n protocol.Name) (protocol.Verdict, error) {
				if n.Dynamic() {
					return protocol.Verdict{Status: protocol.StatusNamed, Name: "GUEST7@" + n.Name, Creation: 42}, nil
				}
				return protocol.Verdict{Status: protocol.StatusOK}, nil
			},
		})
		if err != nil {
			panic(err)
		}
		done <- peer
	}()

	self := protocol.Self{Name: "example.org", Dynamic: true, Cookie: "secret", Challenge: 0x5678}
	peer, err := protocol.Initiate(pair{in: ba, out: ab}, self, protocol.InitiateOptions{Want: "server@example.com"})
	fmt.Println(err)
	fmt.Println("connected to", peer.Name, "as", peer.SelfName, peer.SelfCreation)
	fmt.Println("accepted from", (<-done).Name)
	// Output:
	// <nil>
	// connected to server@example.com as GUEST7@example.org 42
	// accepted from GUEST7@example.org
}

// A peer that does not have a mandatory flag is told so, and we learn which.
func ExampleRespond() {
	ab, ba := make(chan []byte, 4), make(chan []byte, 4)
	announced := dist.FlagsLibei &^ (dist.FlagMapTag | dist.FlagMandatory25Digest)
	name, _ := protocol.AppendName(nil, protocol.Name{Version: dist.Version6, Flags: announced, Name: "old@example.org"})
	ab <- name

	conn := pair{in: ab, out: ba}
	n, err := protocol.ReadName(conn)
	if err == nil {
		_, err = protocol.Respond(conn, protocol.Self{Name: "server@example.com", Cookie: "secret", Challenge: 1}, n, protocol.RespondOptions{})
	}
	fmt.Println(strings.ReplaceAll(err.Error(), ": ", ":\n"))
	var he *dist.HandshakeError
	if errors.As(err, &he) {
		fmt.Println(he.Missing)
	}
	fmt.Printf("%s\n", <-ba)
	// Output:
	// dist:
	// handshake with "old@example.org":
	// status:
	// mandatory distribution flags are missing:
	// DFLAG_MAP_TAG (mandatory since OTP 25) (status "not_allowed")
	// DFLAG_MAP_TAG
	// snot_allowed
}

// A message to a registered name, as it goes over the connection and is read
// on the other side.
func ExampleAppendFrame() {
	from := ei.Pid{Node: "go@example.org", ID: 1, Creation: 7}
	hello, err := ei.AppendAtom(nil, "hello")
	if err != nil {
		panic(err)
	}
	frame, err := protocol.AppendFrame(nil, &dist.Control{Op: dist.OpRegSend, From: from, ToName: "peer"}, hello)
	if err != nil {
		panic(err)
	}
	fmt.Printf("% x\n", frame[:6])

	var ctl dist.Control
	a, err := protocol.NewReader(dist.FlagsLibei, protocol.Limits{}, ei.NewAtomTable(0)).ReadFrame(frame[4:], &ctl)
	fmt.Println(a.Kind, ctl.Op, ctl.From == from, ctl.ToName, err)
	term, err := a.Payload.Decode()
	fmt.Println(term, err)
	// Output:
	// 00 00 00 33 70 83
	// pass-through REG_SEND true peer <nil>
	// hello <nil>
}

// A control message of a later OTP is reported, with its bytes for the log;
// the connection goes on.
func ExampleParseControl_unknown() {
	tuple, _ := ei.Append(nil, ei.Tuple{ei.Int(99), ei.Atom("future")})
	c := ei.NewCursor(tuple)
	var ctl dist.Control
	err := protocol.ParseControl(&c, &ctl)
	var ce *dist.ControlError
	if errors.Is(err, dist.ErrUnknownOp) && errors.As(err, &ce) {
		fmt.Println(err)
		fmt.Printf("%x\n", []byte(ce.Raw))
	}
	// Output:
	// dist: control message op 99, offset 0: unknown control message
	// 680261637706667574757265
}

// A message in fragments: the sender cuts it, the Reader at the other end puts it together. Frames
// of other messages may come in between.
func ExampleReader() {
	flags := dist.FlagsDefault.Negotiate(dist.FlagsDefault)
	r := protocol.NewReader(flags, protocol.Limits{}, nil)
	control, err := protocol.AppendControl(nil, &dist.Control{Op: dist.OpRegSend, From: ei.Pid{Node: "go@host", ID: 1}, ToName: "peer"})
	if err != nil {
		panic(err)
	}
	payload, err := ei.Append(nil, strings.Repeat("x", 100))
	if err != nil {
		panic(err)
	}
	cut := protocol.Cut(1, len(control), payload, 64)
	frame, piece := cut.AppendFirst(nil, nil, nil, control)
	for {
		frame = append(frame, piece...)
		var ctl dist.Control
		a, err := r.ReadFrame(frame[4:], &ctl)
		if err != nil {
			panic(err)
		}
		fmt.Println(a.Kind, len(a.Payload))
		if a.Complete {
			fmt.Println(ctl.Op, ctl.ToName)
			return
		}
		frame, piece = cut.AppendNext(nil)
	}
	// Output:
	// first fragment 0
	// fragment 0
	// fragment 105
	// REG_SEND peer
}
