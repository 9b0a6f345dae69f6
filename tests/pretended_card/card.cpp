// A CUDA card that is not there, for the CPU build of PyTorch.
//
// Its tensors are of the device cuda:0 and lie in host memory. Every operation that has no kernel
// for CUDA is run by the CPU's on aliases of them, and refused where it mixes devices. Kernels,
// copies and waits of the host are counted, and so are bytes.
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_grouped_mm_ops.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_fused_sdp_choice_ops.h>
#include <ATen/ops/copy_ops.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string>

namespace {

const c10::Device CARD(c10::kCUDA, 0), HOST(c10::kCPU);
std::atomic<int64_t> allocated_bytes{0}, most_bytes{0}, total_bytes{int64_t(12) << 30};
std::mutex counting;
std::map<std::string, int64_t> counts;

void count(const std::string& what, int64_t n = 1) {
    std::lock_guard<std::mutex> lock(counting);
    counts[what] += n;
}

// ---- Memory

struct Block {
    at::DataPtr memory;
    int64_t bytes;
};

void free_block(void* block) {
    allocated_bytes -= static_cast<Block*>(block)->bytes;
    delete static_cast<Block*>(block);
}

// Memory of the host as the card's. Raises the error of CUDA's allocator where there is no room.
at::DataPtr on_card(at::DataPtr memory, int64_t bytes) {
    const int64_t now = allocated_bytes += bytes;
    if (now > total_bytes) {
        allocated_bytes -= bytes;
        TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ",
                         bytes >> 10, " KiB. GPU 0 has a total capacity of ",
                         total_bytes >> 20, " MiB");
    }
    for (int64_t most = most_bytes; now > most && !most_bytes.compare_exchange_weak(most, now);) {}
    void* address = memory.get();
    return {address, new Block{std::move(memory), bytes}, free_block, CARD};
}

struct CardAllocator final : c10::Allocator {
    at::DataPtr allocate(size_t bytes) override {
        return on_card(c10::GetCPUAllocator()->allocate(bytes), bytes);
    }
    void copy_data(void* to, const void* from, size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }
    c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
} card_allocator;

at::Tensor with_storage(const at::Tensor& like, c10::Storage storage, c10::Device device) {
    const auto key = device.is_cuda() ? c10::DispatchKey::CUDA : c10::DispatchKey::CPU;
    auto tensor = at::detail::make_tensor<c10::TensorImpl>(
        std::move(storage), c10::DispatchKeySet(key), like.dtype());
    auto* impl = tensor.unsafeGetTensorImpl();
    impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
    if (like.is_conj()) impl->_set_conj(true);
    if (like.is_neg()) impl->_set_neg(true);
    return tensor;
}

// ---- Operations

// What one operation's tensors are to the CPU: aliases, and whose memory each has.
struct Aliases {
    struct Pair {
        at::Tensor card, host;
    };
    std::vector<Pair> pairs;
    bool has_card = false, has_host = false;

    at::Tensor host_of(const at::Tensor& tensor) {
        if (!tensor.defined()) return tensor;
        if (!tensor.is_cuda()) {
            has_host |= tensor.is_cpu() && tensor.dim() > 0;
            return tensor;
        }
        has_card = true;
        for (auto& pair : pairs)
            if (pair.card.is_same(tensor)) return pair.host;
        const auto& storage = tensor.storage();
        c10::Storage lent;
        for (auto& pair : pairs)
            if (pair.card.storage().is_alias_of(storage)) lent = pair.host.storage();
        if (!lent) {
            at::DataPtr memory(storage.mutable_data(), HOST);
            lent = c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(),
                                std::move(memory), c10::GetCPUAllocator(), true);
        }
        pairs.push_back({tensor, with_storage(tensor, lent, HOST)});
        return pairs.back().host;
    }

    // A result of the CPU as the card's: with the memory it shares, or its own.
    at::Tensor card_of(const at::Tensor& result) {
        if (!result.defined() || !result.is_cpu()) return result;
        auto& storage = result.storage();
        for (auto& pair : pairs)
            if (pair.host.storage().is_alias_of(storage))
                return with_storage(result, pair.card.storage(), CARD);
        return with_storage(result, taken(storage), CARD);
    }

    static c10::Storage taken(const c10::Storage& storage) {
        auto* impl = storage.unsafeGetStorageImpl();
        const auto bytes = impl->nbytes();
        auto memory = on_card(impl->set_data_ptr(at::DataPtr()), bytes);
        return c10::Storage(c10::Storage::use_byte_size_t(), bytes, std::move(memory),
                            &card_allocator, true);
    }

    // What was resized or pointed elsewhere through its alias is so itself.
    void settle() {
        for (auto& [card, host] : pairs) {
            auto& mine = card.storage();
            auto& lent = host.storage();
            if (lent.data() != mine.data()) {
                auto* impl = lent.unsafeGetStorageImpl();
                const auto bytes = impl->nbytes();
                auto memory = on_card(impl->set_data_ptr(at::DataPtr()), bytes);
                void* address = memory.get();
                mine.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(memory));
                mine.unsafeGetStorageImpl()->set_nbytes(bytes);
                impl->set_data_ptr_noswap(at::DataPtr(address, HOST));
            }
            if (card.sizes() != host.sizes() || card.strides() != host.strides())
                card.unsafeGetTensorImpl()->set_sizes_and_strides(
                    host.sizes(), host.strides(), host.storage_offset());
        }
    }
};

// Operations that look at tensors of both devices by themselves, as CUDA's own do.
const std::set<std::string> MAY_MIX = {
    "aten::copy_", "aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::set_",
    // Paged states are managed memory, which is a host's tensor to PyTorch.
    "bitsandbytes::optimizer_update_32bit", "bitsandbytes::optimizer_update_8bit_blockwise",
};
// Those whose result has a size that the host learns from the card.
const std::set<std::string> WAITED_FOR = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::unique_dim",
    "aten::_unique2", "aten::unique_consecutive", "aten::equal", "aten::bincount",
    "aten::repeat_interleave",
};
// Those that launch nothing.
const std::set<std::string> NO_KERNEL = {
    "aten::empty", "aten::empty_strided", "aten::empty_like", "aten::resize_", "aten::set_",
    "aten::_local_scalar_dense",
};

template <class Change>
void each_tensor(c10::IValue& value, Change change) {
    if (value.isTensor()) {
        value = change(value.toTensor());
    } else if (value.isTensorList()) {
        auto list = value.toTensorList().copy();
        for (size_t i = 0; i < list.size(); ++i) list[i] = change(list.get(i));
        value = std::move(list);
    } else if (value.isOptionalTensorList()) {
        auto list = value.toOptionalTensorList().copy();
        for (size_t i = 0; i < list.size(); ++i)
            if (auto tensor = list.get(i)) list[i] = change(*tensor);
        value = std::move(list);
    } else if (value.isList()) {
        auto list = value.toList().copy();
        for (size_t i = 0; i < list.size(); ++i) {
            c10::IValue part = list.get(i);
            each_tensor(part, change);
            list.set(i, part);
        }
        value = std::move(list);
    }
}

void tally(const c10::OperatorHandle& op, const std::string& name) {
    const auto& returns = op.schema().returns();
    const bool is_view = !returns.empty() && returns[0].alias_info() &&
                         !returns[0].alias_info()->isWrite();
    if (!is_view && !NO_KERNEL.count(name)) count("kernels"), count(name);
    if (WAITED_FOR.count(name)) count("waits"), count("waits in " + name);
}

// A mask that is written through is read by the host first; reading through one asks `nonzero`.
void tally_masks(const std::string& name, const std::vector<c10::IValue>& arguments) {
    if (name != "aten::_index_put_impl_") return;
    if (arguments.size() < 2 || !arguments[1].isOptionalTensorList()) return;
    for (std::optional<at::Tensor> index : arguments[1].toOptionalTensorList())
        if (index && index->defined() && index->scalar_type() == at::kBool && index->is_cuda())
            count("waits"), count("waits in " + name);
}

void run_on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const auto& schema = op.schema();
    const auto& name = schema.name();
    const auto first = stack->size() - schema.arguments().size();
    const std::vector<c10::IValue> arguments(stack->begin() + first, stack->end());
    tally(op, name);
    tally_masks(name, arguments);
    Aliases aliases;
    bool is_of_card = false;
    for (size_t i = first; i < stack->size(); ++i) {
        auto& value = (*stack)[i];
        each_tensor(value, [&](const at::Tensor& tensor) { return aliases.host_of(tensor); });
        if (value.isDevice() && value.toDevice().is_cuda()) value = HOST, is_of_card = true;
    }
    is_of_card |= aliases.has_card;
    TORCH_CHECK(!(aliases.has_card && aliases.has_host) || MAY_MIX.count(name),
                "Expected all tensors to be on the same device, but found at least two devices, "
                "cuda:0 and cpu! (", name, " on the pretended card)");
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
    aliases.settle();
    const auto& returns = schema.returns();
    for (size_t i = 0; i < returns.size(); ++i) {
        auto& value = (*stack)[stack->size() - returns.size() + i];
        const auto* alias = returns[i].alias_info();
        if (alias && alias->isWrite()) {
            for (size_t j = 0; j < arguments.size(); ++j) {
                const auto* of_argument = schema.arguments()[j].alias_info();
                if (of_argument && of_argument->isWrite() &&
                    of_argument->beforeSets() == alias->beforeSets())
                    value = arguments[j];
            }
        } else if (is_of_card) {
            each_tensor(value, [&](const at::Tensor& tensor) { return aliases.card_of(tensor); });
        }
    }
}

at::Tensor& copy(at::Tensor& self, const at::Tensor& source, bool non_blocking) {
    const bool crosses = self.is_cuda() != source.is_cuda();
    count("kernels");
    count(crosses ? "copies between devices" : self.dtype() == source.dtype() ? "copies" : "casts");
    if (crosses && !non_blocking) count("waits"), count("waits in copies between devices");
    Aliases aliases;
    auto to = aliases.host_of(self);
    to.copy_(aliases.host_of(source));
    return self;
}

// Attention asks this table of functions, not the dispatcher.
const bool has_choice = [] {
    at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(
        [](const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
           const std::optional<at::Tensor>& mask, double dropout, bool is_causal,
           std::optional<double> scale, bool shares_keys) {
            return at::_ops::_fused_sdp_choice::call(query, key, value, mask, dropout, is_causal,
                                                     scale, shares_keys);
        });
    return true;
}();

// ---- What PyTorch asks of a device

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::kCUDA> {
    c10::Device getDevice() const override { return CARD; }
    c10::Device exchangeDevice(c10::Device) const override { return CARD; }
    c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
    c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
    c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
    c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
    void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, CARD); }
};

}  // namespace

namespace c10::impl {
C10_REGISTER_GUARD_IMPL(CUDA, Guard)
}

namespace at {
struct CUDAHooks final : CUDAHooksInterface {
    explicit CUDAHooks(CUDAHooksArgs) {}
    void init() const override {}
    bool hasCUDA() const override { return true; }
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(DeviceIndex) const override { return true; }
    DeviceIndex deviceCount() const override { return 1; }
    DeviceIndex getCurrentDevice() const override { return 0; }
    DeviceIndex current_device() const override { return 0; }
    int getNumGPUs() const override { return 1; }
    Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
    Allocator* getCUDADeviceAllocator() const override { return &card_allocator; }
};
REGISTER_CUDA_HOOKS(CUDAHooks);
}  // namespace at

TORCH_LIBRARY_IMPL(_, CUDA, m) {
    m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
    m.impl("copy_", copy);
}

// Of these bitsandbytes has kernels for CUDA, and for others what is made of several operations.
TORCH_LIBRARY_IMPL(bitsandbytes, CUDA, m) {
    for (auto* name : {"dequantize_4bit", "quantize_4bit", "gemm_4bit", "gemv_4bit",
                       "quantize_blockwise", "dequantize_blockwise", "optimizer_update_32bit",
                       "optimizer_update_8bit_blockwise"})
        m.impl(name, torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

TORCH_LIBRARY_IMPL(pretended, CPU, m) {
    m.impl("grouped_mm", [](const at::Tensor& rows, const at::Tensor& matrices,
                            const std::optional<at::Tensor>& ends) {
        return at::_ops::_grouped_mm::call(rows, matrices, ends, {}, {});
    });
}

TORCH_LIBRARY(pretended, m) {
    m.def("grouped_mm(Tensor rows, Tensor matrices, Tensor? ends) -> Tensor");
    m.def("counts() -> Dict(str, int)", [] {
        std::lock_guard<std::mutex> lock(counting);
        c10::Dict<std::string, int64_t> told;
        for (auto& [what, n] : counts) told.insert(what, n);
        return told;
    });
    m.def("forget_counts() -> ()", [] {
        std::lock_guard<std::mutex> lock(counting);
        counts.clear();
    });
    m.def("count(str what) -> ()", [](const std::string& what) { count(what); });
    m.def("memory() -> int[]", [] {
        return std::vector<int64_t>{allocated_bytes, most_bytes, total_bytes};
    });
    m.def("set_total(int bytes) -> ()", [](int64_t bytes) { total_bytes = bytes; });
    m.def("forget_most() -> ()", [] { most_bytes = allocated_bytes.load(); });
}

// ---- What bitsandbytes asks of CUDA's library: managed memory

extern "C" {
void* cget_managed_ptr(size_t bytes) {
    count("paged bytes", bytes);
    return calloc(bytes, 1);
}
void cprefetch(void*, size_t, int) {}
void cfill_fp32(float* values, void*, float value, int64_t n) { std::fill_n(values, n, value); }
void cfill_uint8(uint8_t* values, void*, uint8_t value, int64_t n) { std::fill_n(values, n, value); }
}
