package states

// A Place is where in a list something is, counted from one; 0: nowhere.
type Place int

func At(at int) Place { return Place(at + 1) }

// index is the place counted from zero; negative: nowhere.
func (p Place) Index() int { return int(p) - 1 }
