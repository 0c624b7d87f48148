package nodes

import (
	"context"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A question is a word that the front has not answered yet.
type question struct {
	w      talk.Word
	answer chan reply // nil: the caller has given up, and what the answer grants is given back
}

// A reply is the front's answer; claim is set if it grants the right to connect.
type reply struct {
	talk.Word
	frontClaim *frontClaim
}

// ask says a word to the front and waits for the answer, for answerLimit at most. A reader, which
// cannot skip a message, passes its connection: then ask waits as long as that is up.
func (p *part) ask(ctx context.Context, w talk.Word, reader *Conn) (reply, error) {
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.last++
	w.ID = p.last
	p.asked[w.ID] = &question{w, answer}
	said := p.line.Say(w)
	p.mu.Unlock()
	if !said {
		return reply{}, p.n.procs.gone()
	}
	var late <-chan time.Time
	var ended <-chan struct{}
	if reader != nil {
		ended = reader.done
	} else {
		t := time.NewTimer(p.answerLimit)
		defer t.Stop()
		late = t.C
	}
	var err error
	select {
	case a := <-answer:
		return a, nil
	case <-wait.Cancelled(ctx):
		err = wait.Err(ctx)
	case <-ended:
		err = reader.Err()
	case <-p.line.Over():
		return reply{}, p.n.procs.gone()
	case <-late:
		err = fmt.Errorf("the front does not answer: %w", context.DeadlineExceeded)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.asked[w.ID]; q != nil {
		q.answer = nil
		return reply{}, err
	}
	return <-answer, nil // it has come just now
}

// answered gives an answer to the caller of ask.
func (p *part) answered(w talk.Word) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.asked[w.ID]
	if q == nil {
		return
	}
	delete(p.asked, w.ID)
	r := reply{Word: w}
	switch {
	case q.w.Topic == talk.Claim && w.Part == p.id:
		if q.answer == nil {
			p.line.Say(talk.Word{Topic: talk.Over, Name: q.w.Name})
			return
		}
		r.frontClaim = p.frontClaimLocked(q.w.Name)
	case q.w.Topic == talk.Register && w.OK:
		if q.answer == nil {
			p.line.Say(talk.Word{Topic: talk.Release, Name: q.w.Name})
			return
		}
		p.claimed[ei.Atom(q.w.Name)] = true
	}
	if q.answer != nil {
		q.answer <- r
	}
}
