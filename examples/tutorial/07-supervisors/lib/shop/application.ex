defmodule Shop.Application do
  use Application

  @impl true
  def start(_type, _args) do
    children = [
      {Cnode.Node, program: "pricing"}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Shop.Supervisor)
  end
end
