package io.feastassets.client;

import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import io.feastassets.client.wire.FeatureMessages.FeatureList;
import io.feastassets.client.wire.FeatureMessages.GetOnlineFeaturesRequest;
import io.feastassets.client.wire.FeatureMessages.GetOnlineFeaturesResponse;
import io.feastassets.client.wire.FeatureMessages.PushRequest;
import io.feastassets.client.wire.FeatureMessages.PushResponse;
import io.feastassets.client.wire.FeatureMessages.WriteToOnlineStoreRequest;
import io.feastassets.client.wire.FeatureMessages.WriteToOnlineStoreResponse;
import io.feastassets.client.wire.ValueMessages.Value;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** Speaks gRPC. */
final class GrpcTransport implements Transport {
  private static final MethodDescriptor<GetOnlineFeaturesRequest, GetOnlineFeaturesResponse> GET =
      method(
          "GrpcFeatureServer/GetOnlineFeatures",
          GetOnlineFeaturesRequest.getDefaultInstance(),
          GetOnlineFeaturesResponse.getDefaultInstance());
  private static final MethodDescriptor<PushRequest, PushResponse> PUSH =
      method("GrpcFeatureServer/Push", PushRequest.getDefaultInstance(), PushResponse.getDefaultInstance());
  private static final MethodDescriptor<WriteToOnlineStoreRequest, WriteToOnlineStoreResponse> WRITE =
      method(
          "GrpcFeatureServer/WriteToOnlineStore",
          WriteToOnlineStoreRequest.getDefaultInstance(),
          WriteToOnlineStoreResponse.getDefaultInstance());
  private static final Metadata.Key<String> AUTHORIZATION = key("authorization");
  private static final Metadata.Key<String> ERROR_CLASS = key("feast-error-class");
  private static final Metadata.Key<String> RETRY_AFTER = key("grpc-retry-pushback-ms");

  private final ManagedChannel channel;
  private final Supplier<String> token;

  GrpcTransport(FeastClient.Builder builder) {
    channel =
        Grpc.newChannelBuilder(builder.target, credentials(builder))
            .maxInboundMessageSize(Integer.MAX_VALUE)
            // FeastClient does it, for both protocols alike.
            .disableRetry()
            .build();
    token = builder.token;
  }

  private static ChannelCredentials credentials(FeastClient.Builder builder) {
    if (!builder.tls) {
      return InsecureChannelCredentials.create();
    }
    if (builder.certificates == null) {
      return TlsChannelCredentials.create();
    }
    try {
      return TlsChannelCredentials.newBuilder().trustManager(builder.certificates.toFile()).build();
    } catch (IOException error) {
      throw new IllegalArgumentException("The certificates " + builder.certificates + " cannot be read.", error);
    }
  }

  private static <Q extends Message, A extends Message> MethodDescriptor<Q, A> method(String name, Q request, A answer) {
    return MethodDescriptor.<Q, A>newBuilder()
        .setType(MethodDescriptor.MethodType.UNARY)
        .setFullMethodName(name)
        .setRequestMarshaller(ProtoUtils.marshaller(request))
        .setResponseMarshaller(ProtoUtils.marshaller(answer))
        .build();
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private <Q, A> A call(MethodDescriptor<Q, A> method, Q request, Deadline deadline) {
    Channel called = channel;
    if (token != null) {
      Metadata sent = new Metadata();
      sent.put(AUTHORIZATION, "Bearer " + token.get());
      called = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(sent));
    }
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(deadline.left(), TimeUnit.NANOSECONDS);
    try {
      return ClientCalls.blockingUnaryCall(called, method, options, request);
    } catch (StatusRuntimeException error) {
      throw failure(error);
    }
  }

  private static FeastException failure(StatusRuntimeException error) {
    Metadata trailers = error.getTrailers() == null ? new Metadata() : error.getTrailers();
    String errorClass = trailers.get(ERROR_CLASS);
    String description = error.getStatus().getDescription();
    return new FeastException(
        error.getStatus().getCode(),
        errorClass == null ? "" : errorClass,
        description == null ? error.getMessage() : description,
        millis(trailers.get(RETRY_AFTER)),
        error);
  }

  private static Duration millis(String text) {
    try {
      return text == null ? Duration.ZERO : Duration.ofMillis(Math.max(0, Long.parseLong(text)));
    } catch (NumberFormatException error) {
      return Duration.ZERO;
    }
  }

  @Override
  public Features getOnlineFeatures(FeaturesRequest request, Deadline deadline) {
    GetOnlineFeaturesRequest.Builder sent =
        GetOnlineFeaturesRequest.newBuilder().setFullFeatureNames(request.hasFullNames());
    if (request.service().isEmpty()) {
      sent.setFeatures(FeatureList.newBuilder().addAllVal(request.features()));
    } else {
      sent.setFeatureService(request.service());
    }
    request.entities().forEach((name, values) -> sent.putEntities(name, Values.messages(values)));
    GetOnlineFeaturesResponse answer = call(GET, sent.build(), deadline);
    List<String> names = answer.getMetadata().getFeatureNames().getValList();
    if (names.size() != answer.getResultsCount()) {
      throw new FeastException(Status.Code.INTERNAL, "The server names other columns than it returns.", null);
    }
    List<FeatureColumn> columns = new ArrayList<>(names.size());
    for (int index = 0; index < names.size(); index++) {
      GetOnlineFeaturesResponse.FeatureVector result = answer.getResults(index);
      List<FeatureStatus> statuses = new ArrayList<>(result.getStatusesCount());
      result.getStatusesValueList().forEach(number -> statuses.add(FeatureStatus.numbered(number)));
      List<Instant> times = new ArrayList<>(result.getEventTimestampsCount());
      for (Timestamp time : result.getEventTimestampsList()) {
        boolean none = time.getSeconds() == 0 && time.getNanos() == 0;
        times.add(none ? null : Instant.ofEpochSecond(time.getSeconds(), time.getNanos()));
      }
      columns.add(
          new FeatureColumn(names.get(index), Values.each(result.getValuesList(), Values::read), statuses, times));
    }
    return new Features(columns);
  }

  @Override
  public void push(String source, PushMode mode, Map<String, ? extends List<?>> rows, Deadline deadline) {
    for (Map<String, Value> row : rowByRow(rows)) {
      PushRequest request =
          PushRequest.newBuilder()
              .setStreamFeatureView(source)
              .setTo(mode.text())
              .setAllowRegistryCache(true)
              .putAllTypedFeatures(row)
              .build();
      call(PUSH, request, deadline);
    }
  }

  @Override
  public void writeToOnlineStore(String view, Map<String, ? extends List<?>> rows, Deadline deadline) {
    for (Map<String, Value> row : rowByRow(rows)) {
      WriteToOnlineStoreRequest request =
          WriteToOnlineStoreRequest.newBuilder()
              .setFeatureViewName(view)
              .setAllowRegistryCache(true)
              .putAllTypedFeatures(row)
              .build();
      call(WRITE, request, deadline);
    }
  }

  /** Returns the messages of all rows, so that a value which cannot be sent changes nothing. */
  private static List<Map<String, Value>> rowByRow(Map<String, ? extends List<?>> rows) {
    int count = Values.rows(rows);
    List<Map<String, Value>> made = new ArrayList<>(count);
    for (int index = 0; index < count; index++) {
      Map<String, Value> row = new LinkedHashMap<>();
      for (Map.Entry<String, ? extends List<?>> column : rows.entrySet()) {
        row.put(column.getKey(), Values.message(column.getValue().get(index)));
      }
      made.add(row);
    }
    return made;
  }

  @Override
  public void checkReady(Deadline deadline) {
    HealthCheckResponse answer =
        call(HealthGrpc.getCheckMethod(), HealthCheckRequest.getDefaultInstance(), deadline);
    if (answer.getStatus() != HealthCheckResponse.ServingStatus.SERVING) {
      throw new FeastException(Status.Code.UNAVAILABLE, "The server is " + answer.getStatus() + ".", null);
    }
  }

  @Override
  public void close() {
    channel.shutdown();
    try {
      if (!channel.awaitTermination(5, TimeUnit.SECONDS)) {
        channel.shutdownNow();
      }
    } catch (InterruptedException error) {
      channel.shutdownNow();
      Thread.currentThread().interrupt();
    }
  }
}
