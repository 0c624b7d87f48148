// Package queue says how package nodes posts to a connection: in which way a post goes out, and
// what the queue in front of a stream promises. [Queue] is made by the Posts of a transport.Stream,
// which has the stream's inside at hand; no other program can name these types.
package queue

import "context"

// DefaultLimit is how many bytes a Queue holds before its callers wait: as much as a BEAM's
// distribution buffer (erl +zdbbl).
const DefaultLimit = 1 << 20

// Options adjust a Queue. The zero value is good.
type Options struct {
	// Limit is how many bytes may wait before callers do; 0 is DefaultLimit. One post may
	// exceed it when nothing else waits.
	Limit int
	// NowLimit is how many bytes of posts that are Now may wait before one is transport.ErrQueueFull;
	// 0 is four times the Limit, and a megabyte at least.
	NowLimit int
	// LazilyLimit is how many bytes of posts may be set aside before those that are Lazily wait; 0 is
	// as many as NowLimit. One post may exceed it.
	LazilyLimit int
	// Full is called when a Post finds that much waiting that it has to wait, or, under NoWait, is
	// refused. It must not wait, and must not use the queue. nil: nothing.
	Full func()
	// Frames says that what is posted are whole frames, each with its length in four bytes, the
	// higher ones first, before it. To a carrier that keeps packets each goes out as one, without
	// the length; a frame of length zero is an empty packet. Without Frames a carrier that keeps
	// packets takes Deliver only, each call one packet, and no Post.
	Frames bool
}

// A How says how a post goes out. Those of nodes/internal/link are more, for messages.
type How uint8

const (
	// Now does not wait while the queue is full: it is for a goroutine that must go on reading. When
	// more than Options.NowLimit bytes of such posts wait it is transport.ErrQueueFull. During a Hold
	// it waits as every post does.
	Now How = 1 << iota
	// Lazily does not wait while the queue is full: what there is no room for is copied, whatever
	// its size, and set aside. From there it goes out behind all that was posted before, and in turns
	// with what others post from then on; such posts keep their order among themselves. When
	// Options.LazilyLimit bytes are aside it waits for some of them to go. It is for one who has
	// much to say of which nobody waits for the end. With Now it means nothing.
	Lazily
	// More is about to be posted: the write is left to another goroutine, so that what follows is
	// combined with it, and to the next post without More.
	More
)

// A Queue serialises many writers on a stream's sending direction. Order is strict: what was posted
// first goes out first, whole. A lone write goes out at once, on its caller's goroutine; what is
// posted while a write is in flight is combined and goes out together in one system call. Its
// methods are safe for concurrent use. Nothing else may write to the stream.
type Queue interface {
	// Post takes head and body, which go out together and in this order, and returns when the queue
	// has them: the caller may use both buffers again. It waits while the queue is full, or, for a
	// large post, until it has been written; when ctx ends before its first byte is out, nothing of it
	// is sent. An earlier failure of the stream is returned. A post without a byte is EINVAL.
	Post(ctx context.Context, head, body []byte, how How) error
	// Deliver sends the buffers behind what was posted before, and returns when all of them have been
	// delivered to the socket, with their length in bytes, or with the reason why they were not. Each
	// call gets its own result. When ctx ends while they wait for their turn nothing of them is sent:
	// the count is 0 with ctx's error. When it ends later they go out all the same, whole, and the
	// count is their length beside ctx's error. The buffers are the caller's again when it returns. A
	// call without a byte is EINVAL.
	Deliver(ctx context.Context, v ...[]byte) (int64, error)
	// Flush waits until everything posted so far has been delivered to the socket, or ctx ends, or the
	// stream fails: then the error says which. If everything has been delivered it is nil, also after
	// the queue's end, by End or a failure.
	Flush(ctx context.Context) error
	// Buffered returns how many bytes wait or are in flight, without those that are set
	// aside, and how many have ever been delivered to the socket.
	Buffered() (bytes int, sent int64)
	// Trim frees the buffers that an idle queue keeps for its next burst.
	Trim()

	// Hold stops the queue at a byte boundary, for a hand-off: nothing goes out any more, and new
	// posts wait, until Unhold or End. What was posted before waits too, and Held returns it. A
	// Deliver that is writing its own buffers at that moment ends with transport.ErrPaused. When ctx
	// ends before the writer has stopped, the queue goes on, and the error is ctx's.
	Hold(ctx context.Context) error
	// Held returns a copy of the bytes that are still to be sent, the rest of what is partly out
	// first. The queue must be held. Calls that wait for their turn, large posts and those of Deliver,
	// are not among them: these fail by End, or go on after Unhold.
	Held() []byte
	// Unhold lets a held or staged queue go on.
	Unhold()
	// End makes err the result of every call that waits and of every later post: what the queue holds
	// goes out elsewhere, or never. Only a call of which Held has returned what is not out succeeds.
	End(err error)
	// Stage puts held, which another process still had to send, into a new queue: nothing goes out
	// until Unhold, but posts are taken, and go out after held. held is copied. Stage waits only for
	// a write that is in progress on the stream, until ctx ends. transport.ErrPaused if the queue is
	// held or staged already, net.ErrClosed for a stream that is closed, syscall.EMFILE if there is
	// no descriptor for the writer to wait with; after an error the queue is as it was.
	Stage(ctx context.Context, held []byte) error
}
