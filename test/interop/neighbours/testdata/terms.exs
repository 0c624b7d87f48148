# Answers questions on the standard input, each with its length before it:
# ?i and a term in the external format: what inspect says, and the term again;
# ?e and a text: what it evaluates to.
# The device that Elixir has for both ways is no pipe for bytes.
defmodule Shop.Order do
  defstruct [:sku, :qty, tags: []]
end

defmodule Terms do
  def loop(input, output) do
    case :file.read(input, 4) do
      {:ok, <<n::32>>} ->
        {:ok, question} = :file.read(input, n)
        data = question |> answer() |> :erlang.term_to_binary()
        :ok = :file.write(output, [<<byte_size(data)::32>>, data])
        loop(input, output)

      :eof ->
        :ok
    end
  end

  defp answer(<<?i, data::binary>>) do
    term = :erlang.binary_to_term(data)
    text = inspect(term, limit: :infinity, printable_limit: :infinity)
    {text, term}
  end

  defp answer(<<?e, text::binary>>) do
    {:ok, text |> Code.eval_string() |> elem(0)}
  rescue
    e -> {:error, Exception.message(e)}
  end
end

# what is logged would be on the standard output, too
:logger.remove_handler(:default)
{:ok, input} = :file.open("/dev/stdin", [:raw, :binary, :read])
{:ok, output} = :file.open("/dev/stdout", [:raw, :binary, :append])
Terms.loop(input, output)
