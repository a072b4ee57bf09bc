# What Python asks of Julia, in both modes: a request is Julia source, its answer is JSON.
# In a worker process the requests come through a socket and arrays lie in shared memory;
# embedded in Python, `answer` is called directly and arrays are given by address.
module PyNESSBridge

using LinearAlgebra: BLAS
using Mmap: Mmap
using Sockets: Sockets

const TRACE_LIMIT = 20_000
const REGIONS = Dict{Int, Vector{UInt8}}()
const HELD = Any[]

"Map the file `path`, which Python has mapped too, as region `id`."
function attach(id::Int, path::String, bytes::Int)
    REGIONS[id] = open(io -> Mmap.mmap(io, Vector{UInt8}, bytes), path, "r+")
    return nothing
end

"Forget regions whose tensors are gone on the other side."
release(ids::Int...) = foreach(id -> delete!(REGIONS, id), ids)

"The array at byte `offset` of a region: no copy."
shared(id::Int, offset::Int, ::Type{T}, dims) where {T} = at(UInt(pointer(REGIONS[id])) + UInt(offset), T, dims)

"The array at an address that Python owns and keeps alive during the call: no copy."
at(address::UInt, ::Type{T}, dims) where {T} =
    prod(dims) == 0 ? Array{T}(undef, dims) : unsafe_wrap(Array, Ptr{T}(address), dims)

"Keep an object that Python handed over (embedded mode); requests name it `PyNESSBridge.HELD[i]`."
hold(object) = (push!(HELD, object); length(HELD))

"""
Make the PyNESS of `directory` the one that is loaded. Where the project has that of another checkout, a copy of it that has
none becomes the active one. What PyNESS needs is looked for in the project, so `directory` comes after it.
"""
function provide(directory::String)
    own, found = realpath(directory), Base.find_package("PyNESS")
    if found === nothing || realpath(found) != joinpath(own, "src", "PyNESS.jl")
        found === nothing || Base.set_active_project(without_pyness(dirname(Base.active_project())))
        push!(LOAD_PATH, own)
    end
    return nothing
end

function without_pyness(project::String)
    copied = mktempdir()
    for name in filter(endswith(".toml"), readdir(project))
        text = read(joinpath(project, name), String)
        text = replace(text, r"^PyNESS = .*\n"m => "", r"^\[\[(deps\.)?PyNESS\]\]\n(.*\n)*?(?=\[\[|\z)"m => "")
        text = replace(text, r"^path = \"(?!/|[A-Za-z]:)"m => string("path = \"", escape_string(project), "/"))
        write(joinpath(copied, name), text)
    end
    return joinpath(copied, basename(Base.active_project()))
end

about() = (julia = string(VERSION), threads = Threads.nthreads(), pid = getpid(), project = Base.active_project())

"Evaluate `source` in Main and write its value, or the exception, as JSON."
function answer(source::AbstractString)
    try
        return sprint(json, (value = include_string(Main, source, "pyness"),))
    catch exception
        full = first(sprint(showerror, exception, catch_backtrace()), TRACE_LIMIT)
        reason = innermost(exception)
        kind, message = string(nameof(typeof(reason))), sprint(showerror, reason)
        return sprint(json, (error = (; kind, message, trace = full),))
    end
end

"The exception that was thrown first, without what loading and tasks wrapped around it."
innermost(exception) = exception
innermost(exception::LoadError) = innermost(exception.error)
innermost(exception::TaskFailedException) = innermost(exception.task.exception)
innermost(exception::CompositeException) = innermost(first(exception))

"Answer requests from the socket at `path` until the other side closes it."
function serve(path::String)
    BLAS.set_num_threads(1)
    socket = Sockets.connect(path)
    reply(text) = (write(socket, htol(UInt64(sizeof(text))), text); flush(socket))
    reply(sprint(json, about()))
    while true
        size = try
            ltoh(read(socket, UInt64))
        catch exception
            exception isa Union{EOFError, Base.IOError} ? break : rethrow()
        end
        reply(answer(String(read(socket, size))))
    end
    return nothing
end

json(io::IO, ::Nothing) = print(io, "null")
json(io::IO, x::Union{Bool, Integer}) = print(io, x)
json(io::IO, x::AbstractFloat) =
    print(io, isnan(x) ? "NaN" : isinf(x) ? (x > 0 ? "Infinity" : "-Infinity") : Float64(x))
function json(io::IO, x::Union{AbstractString, Symbol, Char})
    print(io, '"')
    for c in string(x)
        if c in ('"', '\\')
            print(io, '\\', c)
        elseif c < ' ' || !isvalid(c)
            print(io, "\\u", string(isvalid(c) ? UInt32(c) : 0xfffd; base = 16, pad = 4))
        else
            print(io, c)
        end
    end
    print(io, '"')
end
json(io::IO, x::Union{AbstractVector, Tuple}) = sequence(json, io, '[', x, ']')
json(io::IO, x::Union{NamedTuple, AbstractDict}) = sequence(io, '{', pairs(x), '}') do io, (key, value)
    json(io, string(key))
    print(io, ':')
    json(io, value)
end
json(io::IO, x) = json(io, string(typeof(x)))

function sequence(one, io::IO, opening::Char, items, closing::Char)
    print(io, opening)
    for (i, item) in enumerate(items)
        i > 1 && print(io, ',')
        one(io, item)
    end
    print(io, closing)
end

end
