# A library, with all that structs of Elixir have: defaults of every kind, types with parameters,
# options, results, structs without types.
defmodule Decimal do
  @type t :: %__MODULE__{sign: 1 | -1, coef: non_neg_integer() | :NaN | :inf, exp: integer()}
  defstruct sign: 1, coef: 0, exp: 0
end

defmodule Library.Author do
  @type t :: %__MODULE__{id: id(), name: String.t(), born: Date.t(), works: [binary()], homes: %{optional(atom()) => String.t()}}
  @type id :: pos_integer()
  @enforce_keys [:id]
  defstruct [:id, :born, :works, name: "", homes: %{}]
end

defmodule Library.Book do
  @type state :: :here | :lent | :"being bound"
  @type price :: :free | {:fixed, integer()} | {:per_day, from :: integer(), to :: 1..9}
  @type t :: %__MODULE__{
          author: Library.Author.t() | nil,
          state: state(),
          price: price(),
          cost: Decimal.t(),
          history: [{DateTime.t(), state()}],
          shelf: %{room: String.t(), row: integer() | nil} | nil,
          cover: binary() | nil,
          editions: [integer()] | nil,
          cpu_url: String.t(),
          user_ids: [integer()]
        }
  defstruct [
    :author,
    :shelf,
    :cover,
    :editions,
    state: :here,
    price: :free,
    cost: %Decimal{coef: 125, exp: -2},
    history: [],
    cpu_url: "http://x",
    user_ids: [1]
  ]
end

defmodule Library.Page do
  @type t(item) :: %__MODULE__{items: [item], total: non_neg_integer()}
  @type t :: t(Library.Book.t())
  defstruct items: [], total: 0
end

defmodule Library.Desk do
  @type opts :: [timeout: timeout(), retries: non_neg_integer(), name: atom()]
  @type option :: {:loud, boolean()} | {:wait, timeout()}
  @type result(x) :: {:ok, x} | {:error, atom()}
  @type t :: %__MODULE__{
          opts: opts(),
          more_options: [option()],
          extra: keyword(integer()),
          moves: [{:up, integer()} | {:down, integer()}],
          limits: %{required(:cpu) => float(), optional(:mem) => integer()},
          mfa: mfa(),
          found: result(String.t()),
          done: :ok | {:error, term()},
          last: {:ok, integer()} | {:error, String.t()} | nil,
          authors: Library.Page.t(Library.Author.t()),
          tree: t() | nil,
          trees: [t()],
          number: 1 | 2 | 3
        }
  defstruct opts: [timeout: 5000, retries: 3],
            more_options: [],
            extra: [a: 1],
            moves: [up: 1, down: 2, up: 3],
            limits: %{cpu: 1.0},
            mfa: {Kernel, :node, 0},
            found: {:error, :closed},
            done: :ok,
            last: {:ok, 7},
            authors: %Library.Page{total: 2},
            tree: nil,
            trees: [],
            number: 3
end

defmodule Library.Lost do
  @type t :: %__MODULE__{message: String.t(), code: integer()}
  defexception message: "lost", code: 4
end

# of no known types
defmodule Library.Bare do
  defstruct [
    :any,
    n: 1,
    text: "x",
    atom: :an_atom,
    list: [],
    ints: [1, 2],
    map: %{},
    counts: %{"a" => 1},
    float: 1.5,
    yes: true,
    pair: {1, :b},
    on: ~D[2026-01-01],
    at: ~U[2026-01-02 03:04:05.120Z],
    naive: ~N[2026-01-02 03:04:05],
    time: ~T[03:04:05],
    set: MapSet.new(),
    words: MapSet.new(["a", "b"]),
    pages: 1..9//2,
    keys: [a: 1, b: 2],
    mixed: [1, "a", {:b, %{c: nil}}],
    inner: %Library.Page{total: 1},
    same: &String.upcase/1
  ]
end

# with keys of which two can be no Go fields
defmodule Library.Odd do
  defstruct [{:"foo-bar", 1}, {:"1st", 2}, {:n, 3}, {:URL, "a"}, {:url, "b"}]
end
