package transport

import "net"

// over takes s over: it returns a Stream in its place, whose carrier, made by wrap, stands in front of that of s. What s has read ahead
// goes along. s is left disconnected, with nothing to close.
func (s *Stream) over(wrap func(*Stream) carrier) (*Stream, error) {
	if err := s.beginRead(); err != nil {
		return nil, opError("take over", s.remote, err)
	}
	defer s.endRead()
	if err := s.beginWrite(); err != nil {
		return nil, opError("take over", s.remote, err)
	}
	defer s.endWrite()
	s.state.Or(streamDisconnected)
	ours := false
	s.closeOnce.Do(func() { ours = true }) // a Close from now on closes nothing
	if !ours {
		return nil, opError("take over", s.remote, net.ErrClosed)
	}
	taken := newStream(s.car, s.remote, s.how)
	taken.car = wrap(taken)
	taken.unread(s.buf[s.r:s.w])
	taken.ahead.Store(int64(taken.w - taken.r))
	s.r, s.w = 0, 0
	taken.broken.Store(s.broken.Load())
	taken.cut.Store(s.cut.Load())
	taken.asleep.Store(s.asleep.Load())
	return taken, nil
}
