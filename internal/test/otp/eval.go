package otp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// evaluator is the Erlang side. It reads requests from descriptor 3 and writes
// answers to descriptor 4, so that nothing of the node's own output can get
// between them, and ends the node when descriptor 3 does. Packets have a 4-byte
// length; a request is Id:32, $e or $a, the text of the expressions; an answer
// is Id:32, $v (value) or $x (exception), text. Packet 0 says that the node is
// up. Requests of kind $e are evaluated one after the other by one process,
// which lives on between them and is given the next one only when it has answered
// (its expressions may receive any message); kind $a gets a process of its own.
const evaluator = `
spawn(fun() ->
	Port = open_port({fd, 3, 4}, [{packet, 4}, binary, eof]),
	Owner = self(),
	Text = fun(Format, Args) -> unicode:characters_to_binary(io_lib:format(Format, Args)) end,
	Evaluate = fun(Source) ->
		try
			{ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Source)),
			{ok, Exprs} = erl_parse:parse_exprs(Tokens),
			{value, Value, _} = erl_eval:exprs(Exprs, erl_eval:new_bindings()),
			[$v, Text("~0tp", [Value])]
		catch
			Class:Reason -> [$x, Text("~0tp:~0tp", [Class, Reason])]
		end
	end,
	Worker = fun Work() ->
		receive {Owner, Id, Source} -> Owner ! {answer, self(), Id, Evaluate(Source)} end,
		Work()
	end,
	Put = fun(Id, Answer) -> port_command(Port, [<<Id:32>> | Answer]) end,
	Hand = fun(_, []) -> idle; (Main, [{Id, Source} | _]) -> Main ! {Owner, Id, Source} end,
	Loop = fun Loop(Main, Jobs, Others) ->
		receive
			{Port, {data, <<Id:32, $e, Source/binary>>}} ->
				Jobs =:= [] andalso Hand(Main, [{Id, Source}]),
				Loop(Main, Jobs ++ [{Id, Source}], Others);
			{Port, {data, <<Id:32, $a, Source/binary>>}} ->
				{Pid, _} = spawn_monitor(fun() -> Owner ! {answer, self(), Id, Evaluate(Source)} end),
				Loop(Main, Jobs, Others#{Pid => Id});
			{answer, Main, Id, Answer} ->
				Put(Id, Answer),
				Hand(Main, tl(Jobs)),
				Loop(Main, tl(Jobs), Others);
			{answer, Pid, Id, Answer} ->
				Put(Id, Answer),
				Loop(Main, Jobs, maps:remove(Pid, Others));
			{'DOWN', _, process, Main, Reason} ->
				[Put(Id, [$x, Text("exit:~0tp", [Reason])]) || {Id, _} <- lists:sublist(Jobs, 1)],
				{New, _} = spawn_monitor(Worker),
				Hand(New, lists:nthtail(min(1, length(Jobs)), Jobs)),
				Loop(New, lists:nthtail(min(1, length(Jobs)), Jobs), Others);
			{'DOWN', _, process, Pid, Reason} ->
				[Put(Id, [$x, Text("exit:~0tp", [Reason])]) || {ok, Id} <- [maps:find(Pid, Others)]],
				Loop(Main, Jobs, maps:remove(Pid, Others));
			{Port, eof} ->
				erlang:halt(0, [{flush, false}])
		end
	end,
	Put(0, [$v, Text("~ts ~ts ~w", [os:getpid(), erlang:system_info(otp_release), node()])]),
	Loop(element(1, spawn_monitor(Worker)), [], #{})
end).
`

// An Exception is what an evaluated expression has raised.
type Exception struct {
	Text string // class:reason, as Erlang text
}

// Error returns the text.
func (e *Exception) Error() string { return e.Text }

// errEnded is wrapped by the error of an evaluation whose node has gone.
var errEnded = errors.New("the node has ended")

// A dialogue is this side of the two pipes to an evaluator.
type dialogue struct {
	requests, answers *os.File

	mu   sync.Mutex
	last uint32
	open map[uint32]chan answer // nil once the node has ended
}

type answer struct {
	text string
	err  error
}

// newDialogue makes the pipes. The node's ends are closed by the caller when the
// node has them.
func newDialogue() (d *dialogue, nodeReads, nodeWrites *os.File, err error) {
	nodeReads, requests, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	answers, nodeWrites, err := os.Pipe()
	if err != nil {
		nodeReads.Close()
		requests.Close()
		return nil, nil, nil, err
	}
	d = &dialogue{requests: requests, answers: answers, open: map[uint32]chan answer{0: make(chan answer, 1)}}
	return d, nodeReads, nodeWrites, nil
}

// run hands out the answers until the node has closed its end.
func (d *dialogue) run() {
	for {
		id, a, err := readAnswer(d.answers)
		d.mu.Lock()
		if err != nil {
			for _, waiting := range d.open {
				waiting <- answer{err: errEnded}
			}
			d.open = nil
			d.mu.Unlock()
			return
		}
		waiting := d.open[id]
		delete(d.open, id)
		d.mu.Unlock()
		if waiting != nil {
			waiting <- a
		}
	}
}

func readAnswer(r io.Reader) (id uint32, a answer, err error) {
	var header [4]byte
	if _, err = io.ReadFull(r, header[:]); err != nil {
		return 0, a, err
	}
	packet := make([]byte, binary.BigEndian.Uint32(header[:]))
	if _, err = io.ReadFull(r, packet); err != nil {
		return 0, a, err
	}
	if len(packet) < 5 {
		return 0, a, fmt.Errorf("an answer of %d bytes", len(packet))
	}
	a.text = string(packet[5:])
	if packet[4] == 'x' {
		a = answer{err: &Exception{Text: a.text}}
	}
	return binary.BigEndian.Uint32(packet), a, nil
}

// ask sends expressions; the answer comes on the channel.
func (d *dialogue) ask(kind byte, expr string) <-chan answer {
	expr = strings.TrimSpace(expr)
	if !strings.HasSuffix(expr, ".") {
		expr += "\n."
	}
	result := make(chan answer, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		result <- answer{err: errEnded}
		return result
	}
	d.last++
	d.open[d.last] = result
	packet := binary.BigEndian.AppendUint32(nil, uint32(5+len(expr)))
	packet = binary.BigEndian.AppendUint32(packet, d.last)
	packet = append(packet, kind)
	packet = append(packet, expr...)
	// A node that is going away may have closed its end already: then run
	// answers for it.
	_, _ = d.requests.Write(packet)
	return result
}

// await waits for an answer.
func await(ctx context.Context, result <-chan answer) (string, error) {
	select {
	case a := <-result:
		return a.text, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (d *dialogue) close() {
	d.requests.Close()
	d.answers.Close()
}
