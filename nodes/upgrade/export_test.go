package upgrade

// OnReached has f called at each step of an upgrade.
func (u *Upgrader) OnReached(f func(step string)) { u.reached = f }
