package io.feastassets.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.sun.net.httpserver.HttpServer;
import io.grpc.Grpc;
import io.grpc.HandlerRegistry;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Runs against servers of its own, which refuse. */
class FeastClientTest {
  private static final FeaturesRequest ANY = FeaturesRequest.of("stats:trips").entity("driver_id", 1);

  private final List<String> tokens = Collections.synchronizedList(new ArrayList<>());
  private HttpServer httpServer;
  private Server grpcServer;

  @AfterEach
  void stop() {
    if (httpServer != null) {
      httpServer.stop(0);
    }
    if (grpcServer != null) {
      grpcServer.shutdownNow();
    }
  }

  /** Starts a server that answers with statuses, one after the other, and then with no columns. */
  private String refusingHttp(int... statuses) throws IOException {
    httpServer = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    httpServer.createContext(
        "/",
        exchange -> {
          int number = tokens.size();
          tokens.add(String.valueOf(exchange.getRequestHeaders().getFirst("Authorization")));
          byte[] body = "{\"metadata\":{\"feature_names\":[]},\"results\":[]}".getBytes(StandardCharsets.UTF_8);
          exchange.getResponseHeaders().set("Retry-After", "0");
          exchange.sendResponseHeaders(number < statuses.length ? statuses[number] : 200, body.length);
          exchange.getResponseBody().write(body);
          exchange.close();
        });
    httpServer.start();
    return "http://127.0.0.1:" + httpServer.getAddress().getPort();
  }

  /** Starts a server that refuses all calls with a status. */
  private String refusingGrpc(Status.Code code) throws IOException {
    MethodDescriptor.Marshaller<byte[]> bytes =
        new MethodDescriptor.Marshaller<>() {
          @Override
          public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
          }

          @Override
          public byte[] parse(InputStream stream) {
            return new byte[0];
          }
        };
    HandlerRegistry everything =
        new HandlerRegistry() {
          @Override
          public ServerMethodDefinition<?, ?> lookupMethod(String name, String authority) {
            return ServerMethodDefinition.create(
                MethodDescriptor.newBuilder(bytes, bytes)
                    .setType(MethodDescriptor.MethodType.UNARY)
                    .setFullMethodName(name)
                    .build(),
                (call, headers) -> {
                  Metadata.Key<String> key = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
                  tokens.add(String.valueOf(headers.get(key)));
                  call.close(code.toStatus().withDescription("refused"), new Metadata());
                  return new ServerCall.Listener<byte[]>() {};
                });
          }
        };
    grpcServer =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create()).fallbackHandlerRegistry(everything).build();
    grpcServer.start();
    return "127.0.0.1:" + grpcServer.getPort();
  }

  @Test
  void aCallIsTriedAgainWhileTheServerIsUnavailable() throws IOException {
    try (FeastClient client = FeastClient.http(refusingHttp(503, 503)).build()) {
      assertEquals(0, client.getOnlineFeatures(ANY).rows());
    }
    assertEquals(3, tokens.size());
  }

  @ParameterizedTest
  @CsvSource({"503,2,UNAVAILABLE", "500,1,INTERNAL", "401,1,UNAUTHENTICATED", "504,1,DEADLINE_EXCEEDED"})
  void attemptsEndAndOtherFailuresAreNotTriedAgain(int status, int calls, Status.Code code) throws IOException {
    try (FeastClient client = FeastClient.http(refusingHttp(status, status, status)).attempts(2).build()) {
      assertEquals(code, assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY)).code());
    }
    assertEquals(calls, tokens.size());
  }

  @ParameterizedTest
  @CsvSource({"UNAVAILABLE,2", "PERMISSION_DENIED,1"})
  void attemptsEndOverGrpcToo(Status.Code code, int calls) throws IOException {
    try (FeastClient client = FeastClient.grpc(refusingGrpc(code)).attempts(2).build()) {
      FeastException error = assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY));
      assertEquals(code, error.code());
      assertEquals("refused", error.getMessage());
    }
    assertEquals(calls, tokens.size());
  }

  @Test
  void nobodyThereIsUnavailable() throws IOException {
    int port;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = socket.getLocalPort();
    }
    for (FeastClient.Builder builder :
        List.of(FeastClient.grpc("127.0.0.1:" + port), FeastClient.http("http://127.0.0.1:" + port))) {
      try (FeastClient client = builder.build()) {
        FeastException error = assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY));
        assertEquals(Status.Code.UNAVAILABLE, error.code());
      }
    }
  }

  @Test
  void theTimeoutLimitsACall() throws IOException {
    CountDownLatch released = new CountDownLatch(1);
    httpServer = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    httpServer.createContext(
        "/",
        exchange -> {
          try {
            released.await();
          } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
          }
          exchange.close();
        });
    httpServer.start();
    String url = "http://127.0.0.1:" + httpServer.getAddress().getPort();
    try (FeastClient client = FeastClient.http(url).timeout(Duration.ofMillis(50)).build()) {
      FeastException error = assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, error.code());
    } finally {
      released.countDown();
    }
  }

  @Test
  void aTokenIsSentAndOnlyWhereNobodyCanReadIt() throws IOException {
    assertThrows(IllegalStateException.class, () -> FeastClient.grpc("localhost:1").token("t0ken").build());
    assertThrows(IllegalStateException.class, () -> FeastClient.http("http://localhost:1").token("t0ken").build());
    try (FeastClient client = FeastClient.http(refusingHttp()).token("t0ken").allowPlainToken().build()) {
      client.getOnlineFeatures(ANY);
    }
    List<String> next = new ArrayList<>(List.of("first", "second"));
    String target = refusingGrpc(Status.Code.NOT_FOUND);
    try (FeastClient client = FeastClient.grpc(target).token(() -> next.remove(0)).allowPlainToken().build()) {
      assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY));
      assertThrows(FeastException.class, () -> client.getOnlineFeatures(ANY));
    }
    assertEquals(List.of("Bearer t0ken", "Bearer first", "Bearer second"), tokens);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "localhost:6566", "ftp://localhost", "http:/nowhere"})
  void anAddressThatIsNoneIsRefused(String url) {
    assertThrows(IllegalArgumentException.class, () -> FeastClient.http(url).build());
  }

  @Test
  void whatCannotBeSentIsRefusedBeforeTheFirstRow() throws IOException {
    try (FeastClient http = FeastClient.http(refusingHttp()).build();
        FeastClient grpc = FeastClient.grpc(refusingGrpc(Status.Code.INTERNAL)).build()) {
      for (FeastClient client : List.of(http, grpc)) {
        for (Map<String, List<?>> rows :
            List.<Map<String, List<?>>>of(
                Map.of("a", Arrays.asList(1, new Object())), Map.of("a", List.of(1), "b", List.of(1, 2)))) {
          assertThrows(IllegalArgumentException.class, () -> client.push("live", PushMode.ONLINE, rows));
        }
      }
      for (Object value : List.of(new byte[] {1}, List.of(new byte[] {1}), Double.NaN)) {
        Map<String, List<?>> rows = Map.of("a", List.of(value));
        assertThrows(IllegalArgumentException.class, () -> http.push("live", PushMode.ONLINE, rows));
      }
    }
    assertEquals(List.of(), tokens);
  }

  @Test
  void settingsThatCannotBeAreRefused() {
    FeastClient.Builder builder = FeastClient.grpc("localhost:1");
    assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> builder.attempts(0));
  }
}
